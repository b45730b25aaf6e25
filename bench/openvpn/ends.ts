/** Two OpenVPN guards in two namespaces, for bench/openvpn/main.ts and test/e2e/openvpn.test.ts. */

import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { GuardEnd, outside, type Side, type TwoNamespaces } from '../two-namespaces.ts'
import type { OpenvpnEndOptions, OpenvpnEndPeer } from './end.ts'

export const openvpn = '/usr/sbin/openvpn'
export const port = 51_820
export const inside: Readonly<Record<Side, string>> = { a: '10.99.0.1', b: '10.99.0.2' }
export const insideIpv6: Readonly<Record<Side, string>> = { a: 'fd99::1', b: 'fd99::2' }

const privateKeys: Readonly<Record<Side, string>> = { a: '11'.repeat(32), b: '22'.repeat(32) }
export const presharedKey: string = '44'.repeat(32)

/** What an end is told of the one on the other side. */
export function peerOf(side: Side, more: Partial<OpenvpnEndPeer> = {}): OpenvpnEndPeer {
  return {
    privateKey: privateKeys[side],
    presharedKey,
    endpoint: { address: outside[side], port },
    addresses: [inside[side], insideIpv6[side]],
    ...more,
  }
}

/** Where an end keeps its files, below `folder`. */
export function folderOf(folder: string, side: Side, name = 'pg0'): string {
  return join(folder, `${side}-${name}`)
}

/** Started, and ready to be asked; that there is a tunnel is not waited for. */
export async function startOpenvpnEnd(
  spaces: TwoNamespaces,
  side: Side,
  options: Partial<OpenvpnEndOptions> & { readonly folder: string },
): Promise<GuardEnd> {
  const folder = folderOf(options.folder, side, options.name)
  mkdirSync(folder, { recursive: true })
  const whole: OpenvpnEndOptions = {
    name: 'pg0',
    port,
    privateKey: privateKeys[side],
    addresses: [inside[side], insideIpv6[side]],
    mtu: 1392,
    peers: [peerOf(side === 'a' ? 'b' : 'a')],
    ...options,
    folder,
  }
  const program = fileURLToPath(new URL('./end.js', import.meta.url))
  const end = new GuardEnd(spaces.start(side, process.execPath, [program, JSON.stringify(whole)]))
  await end.answer()
  return end
}

/** The OpenVPN processes in a namespace, by their ids. */
export function processesIn(spaces: TwoNamespaces, side: Side): readonly number[] {
  const pids = spaces
    .run(side, 'ip', ['netns', 'pids', spaces.nameOf(side)])
    .trim()
    .split(/\s+/)
    .map(Number)
  return pids.filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'openvpn'
    } catch {
      return false
    }
  })
}
