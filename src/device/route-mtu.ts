/** How large a packet inside the tunnel may be so that it passes a path unbroken. */

/** IPv4, UDP, and WireGuard's header and tag. OpenVPN's are less. */
export const tunnelOverhead: number = 20 + 8 + 32

/** WireGuard fills packets up to a multiple of this, though not beyond the interface's MTU (whitepaper §5.4.6). */
const paddingUnit = 16

/** `undefined`: nothing smaller than the interface's MTU is needed, or nothing is known of the path. */
export function routeMtu(options: {
  readonly pathMtu: number | undefined
  readonly interfaceMtu: number
}): number | undefined {
  const { pathMtu, interfaceMtu } = options
  if (pathMtu === undefined) return undefined
  const most = pathMtu - tunnelOverhead
  return most >= interfaceMtu ? undefined : most - (most % paddingUnit)
}
