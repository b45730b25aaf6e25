/** A UDP address: where a datagram comes from or goes to. */

export interface Endpoint {
  /** IPv4 in dotted form, or IPv6 in its RFC 5952 form without brackets. */
  readonly address: string
  /** 1..65535 */
  readonly port: number
}

/** `203.0.113.5:3478` or `[2001:db8::1]:3478`. */
export function formatEndpoint(endpoint: Endpoint): string {
  const { address, port } = endpoint
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/** Splits `host:port`; `undefined` when there is no valid port. The host is not looked at. */
export function parseHostPort(text: string): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || !(port >= 1 && port <= 65_535)) return undefined
  return { host, port }
}

export function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && a.address === b.address
}
