/** What carries the traffic between the two namespaces: the guard, two ages of wireguard-go, or nothing but the link. */

import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { importKeyPair } from '../../src/guard/wireguard/crypto.ts'
import { toHex } from '../../src/util/bytes.ts'
import { type GuardEnd, outside, type Side, type TwoNamespaces, untilWorkers } from '../two-namespaces.ts'
import { startWireguardGo } from '../wireguard-go.ts'

export type Carrier = 'ours' | 'newest' | 'debian' | 'raw'

export interface Tunnel {
  readonly carrier: Carrier
  /** The processes that carry it, a's first. */
  readonly pids: readonly number[]
  /** Where b listens. */
  readonly address: string
  /** Of the guard: a's end. */
  readonly end: GuardEnd | undefined
  close(): Promise<void>
}

export const debian = '/usr/bin/wireguard-go'
export const port = 51_820
export const mtu = 1420
export const privateKeys: Readonly<Record<Side, string>> = { a: '11'.repeat(32), b: '22'.repeat(32) }
export const inside: Readonly<Record<Side, string>> = { a: '10.99.0.1', b: '10.99.0.2' }

const socketFolder = '/var/run/wireguard'
const namePrefix = `pg${process.pid % 1_000_000}n`

export function publicKeyOf(privateKey: string): string {
  return toHex(importKeyPair(Uint8Array.from(Buffer.from(privateKey, 'hex'))).publicKey)
}

/** wireguard-go as programs, and what they leave behind. */
export class WireguardGo implements Disposable {
  readonly newest: string
  /** Whether `newest` is what it says, and not Debian's for want of Go. */
  readonly isNewest: boolean
  readonly #folder: string
  /** A killed wireguard-go leaves its UAPI socket, so no name is used twice. */
  #names = 0

  private constructor(folder: string, newest: string | undefined) {
    this.#folder = folder
    this.newest = newest ?? debian
    this.isNewest = newest !== undefined
    process.on('exit', () => this[Symbol.dispose]())
  }

  /** Built through the Go module proxy, when there is Go and no program is given. */
  static async find(given: string | undefined): Promise<WireguardGo> {
    const folder = mkdtempSync(join(tmpdir(), 'punchguard-bench-'))
    if (given !== undefined) return new WireguardGo(folder, given)
    try {
      await promisify(execFile)('go', ['install', 'golang.zx2c4.com/wireguard@latest'], {
        env: { ...process.env, GOBIN: folder, GOFLAGS: '-mod=mod' },
        timeout: 180_000,
      })
      return new WireguardGo(folder, join(folder, 'wireguard'))
    } catch {
      return new WireguardGo(folder, undefined)
    }
  }

  nextName(): string {
    this.#names++
    return `${namePrefix}${this.#names}`
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true })
    if (!existsSync(socketFolder)) return
    for (const left of readdirSync(socketFolder))
      if (left.startsWith(namePrefix)) rmSync(join(socketFolder, left), { force: true })
  }
}

export interface TunnelOptions {
  readonly wireguardGo: WireguardGo
  /** Outer addresses; those of the veth unless told. */
  readonly between?: Readonly<Record<Side, string>>
}

/** Up, and seen to carry a ping. */
export async function openTunnel(
  spaces: TwoNamespaces,
  carrier: Carrier,
  { wireguardGo, between = outside }: TunnelOptions,
): Promise<Tunnel> {
  if (carrier === 'raw') return { carrier, pids: [], address: between.b, end: undefined, close: async () => {} }
  const close = (): Promise<void> => spaces.endPrograms()
  const pids: number[] = []
  const ends: GuardEnd[] = []
  for (const side of ['b', 'a'] as const) {
    if (carrier === 'ours') {
      const end = await spaces.startEnd(side, { name: 'pgb0', port, mtu, plane: 'workers', ...endOf(side, between) })
      pids.unshift(end.child.pid ?? 0)
      ends.push(end)
    } else {
      const program = carrier === 'debian' ? debian : wireguardGo.newest
      const options = { program, name: wireguardGo.nextName(), port, mtu, ...endOf(side, between) }
      pids.unshift(await startWireguardGo(spaces, side, options))
    }
  }
  spaces.run('a', 'ping', ['-c', '1', '-w', '10', '-i', '0.2', inside.b])
  await untilWorkers(...ends)
  return { carrier, pids, address: inside.b, end: ends.at(-1), close }
}

function endOf(
  side: Side,
  between: Readonly<Record<Side, string>>,
): {
  readonly privateKey: string
  readonly addresses: readonly string[]
  readonly peers: readonly {
    readonly publicKey: string
    readonly endpoint: { readonly address: string; readonly port: number }
    readonly allowedIps: readonly string[]
  }[]
} {
  const other = side === 'a' ? 'b' : 'a'
  const endpoint = { address: between[other], port }
  const publicKey = publicKeyOf(privateKeys[other])
  return {
    privateKey: privateKeys[side],
    addresses: [`${inside[side]}/24`],
    peers: [{ publicKey, endpoint, allowedIps: [`${inside[other]}/32`] }],
  }
}
