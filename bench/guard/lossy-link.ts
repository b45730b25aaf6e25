/**
 * The lab's lossy line between two namespaces, as a process of its own (lab/wire.ts): an interface in each, whose packets
 * this carries from one to the other. Told by one JSON argument; says `ready` and lives until its input ends.
 */

import { execFileSync } from 'node:child_process'
import { Generator } from '../../lab/model/generator.ts'
import { ipv4 } from '../../lab/model/ipv4.ts'
import type { LinkSettings } from '../../lab/model/link.ts'
import { Wire } from '../../lab/wire.ts'
import { systemCalls } from '../../src/net/ffi.ts'
import { sharedPollLoop } from '../../src/net/poll-loop.ts'
import { openTunNow } from '../../src/net/tun/linux.ts'
import { systemClock } from '../../src/util/clock.ts'

export interface LossyLinkOptions {
  readonly ends: readonly { readonly namespace: string; readonly address: string }[]
  /** Of what each end sends. */
  readonly link: Partial<LinkSettings>
  /** Equal seeds treat the packets of a direction alike, by their number. */
  readonly seed: number
}

export const lossyInterface = 'lossy0'

const { ends, link, seed }: LossyLinkOptions = JSON.parse(process.argv[2] ?? '')
const parts = { system: await systemCalls(), poll: await sharedPollLoop() }
const generator = new Generator(seed)
const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => generator.below(256))
const wire = new Wire(systemClock, { bytes })
const queueLength = 10_000

for (const [at, { namespace, address }] of ends.entries()) {
  const name = `pgl${process.pid % 1_000_000}e${at}`
  const tun = openTunNow({ name, mtu: 1500, queueLength }, parts)
  const ip = (args: readonly string[]): void => void execFileSync('ip', args)
  ip(['link', 'set', 'dev', name, 'netns', namespace, 'name', lossyInterface])
  ip(['-n', namespace, 'link', 'set', 'dev', lossyInterface, 'addrgenmode', 'none'])
  ip(['-n', namespace, 'address', 'add', `${address}/24`, 'dev', lossyInterface])
  ip(['-n', namespace, 'link', 'set', 'dev', lossyInterface, 'up'])
  const host = wire.attach(tun, { addresses: [ipv4(address)] })
  host.line.up.change(link)
}
console.log(JSON.stringify({ ready: true }))
process.stdin.on('end', () => process.exit(0)).resume()
