/**
 * What a session keeps of its throughput while 50 000 forged initiations a second arrive at the end that receives its
 * TCP stream. In each round: without a flood; with one at the guard's port; and, as a control, with the same one at a
 * port where nobody listens, for what sender and kernel take of the shared processor anyway.
 */

import { fileURLToPath } from 'node:url'
import { median } from '../../lab/steps.ts'
import type { Figure } from '../figures.ts'
import { GuardEnd, outside } from '../two-namespaces.ts'
import { atLeast, attempt, type Bench, figure, nameOfNewest, note, ratio } from './bench.ts'
import { openTunnel, port, privateKeys, publicKeyOf, type Tunnel } from './carriers.ts'
import type { FloodOptions } from './flood-sender.ts'
import { measure, rssOf, warmUp } from './iperf.ts'

const rate = 50_000
/** Less is no such flood. */
const leastRate = 45_000
const closedPort = 9
/** The end that is flooded receives. */
const stream = ['-R']
/** One that heats up what runs only under a flood, so that the memory after it can be compared. */
const warmUpSeconds = 2

interface Samples {
  readonly quiet: number[]
  readonly flooded: number[]
  readonly control: number[]
}

interface Flood {
  readonly rate: number
  readonly cpu: number
}

export async function measureFlood(bench: Bench): Promise<readonly Figure[]> {
  const samples: Record<'ours' | 'newest', Samples> = {
    ours: { quiet: [], flooded: [], control: [] },
    newest: { quiet: [], flooded: [], control: [] },
  }
  const rates: number[] = []
  const senders: number[] = []
  const growth: number[] = []
  for (let round = 1; round <= bench.rounds; round++)
    for (const carrier of ['ours', 'newest'] as const)
      await attempt(bench, `flood, round ${round}, ${carrier}`, async () => {
        const tunnel = await openTunnel(bench.spaces, carrier, bench)
        const { quiet, flooded, control } = samples[carrier]
        await warmUp(bench.spaces, tunnel)
        quiet.push((await carry(bench, tunnel)).gbps)
        if (carrier === 'ours') await carry({ ...bench, seconds: warmUpSeconds }, tunnel, port)
        const [pid = 0] = tunnel.pids
        const before = rssOf(pid)
        const dropped = await dropsOf(tunnel)
        const { gbps, flood } = await carry(bench, tunnel, port)
        if (flood !== undefined) rates.push(flood.rate)
        flooded.push(gbps)
        if (carrier === 'ours') {
          growth.push(rssOf(pid) - before)
          const { gbps: withControl, flood: idle } = await carry(bench, tunnel, closedPort)
          control.push(withControl)
          if (idle !== undefined) senders.push(idle.cpu)
          const arrived = (await dropsOf(tunnel)) - dropped
          note(`ours dropped ${arrived} of the flood, ${((flood?.rate ?? 0) * bench.seconds).toFixed(0)} sent`)
        }
        note(
          `${carrier} flood: ${quiet.at(-1)?.toFixed(3)} Gbit/s without, ${gbps.toFixed(3)} with, control ${control.at(-1)?.toFixed(3)}; ${flood?.rate.toFixed(0)} a second`,
        )
        await tunnel.close()
      })
  const { ours, newest } = samples
  if (rates.length > 0 && median(rates) < leastRate) bench.failures.push(`only ${median(rates)} initiations a second`)
  return [
    {
      ...atLeast(0.7, ratio('flood_keep', ours.flooded, ours.quiet)),
      peer: nameOfNewest(bench),
      peer_value: median(newest.flooded) / median(newest.quiet),
    },
    { ...figure('flood_rss_growth_mib', 'MiB', growth), bar: 8 },
    figure('flood_rate', '1/s', rates),
    ratio('flood_keep_control', ours.control, ours.quiet),
    figure('flood_sender_cpu', 'CPU-s/s', senders),
  ]
}

/** One TCP stream, with a flood of a's port when one is given. */
async function carry(
  { spaces, seconds }: Pick<Bench, 'spaces' | 'seconds'>,
  { pids, address }: Tunnel,
  floodedPort?: number,
): Promise<{ readonly gbps: number; readonly flood: Flood | undefined }> {
  const stop = floodedPort === undefined ? undefined : await startFlood(spaces, floodedPort)
  const { gbps } = await measure(spaces, pids, { address, seconds, args: stream })
  return { gbps, flood: await stop?.() }
}

async function startFlood(spaces: Bench['spaces'], floodedPort: number): Promise<() => Promise<Flood>> {
  const program = fileURLToPath(new URL('./flood-sender.js', import.meta.url))
  const options: FloodOptions = {
    address: outside.a,
    port: floodedPort,
    publicKey: publicKeyOf(privateKeys.a),
    rate,
  }
  const sender = new GuardEnd(spaces.start('b', process.execPath, [program, JSON.stringify(options)]))
  await sender.answer()
  return async () => {
    const { sent, seconds, cpu } = await sender.ask('stop')
    return { rate: Number(sent) / Number(seconds), cpu: Number(cpu) / Number(seconds) }
  }
}

/** Handshake messages that our end of the flood has dropped so far. */
async function dropsOf({ end }: Tunnel): Promise<number> {
  if (end === undefined) return 0
  const { guard } = await end.ask('stats')
  const { dropped } = guard as { readonly dropped: Readonly<Record<string, number>> }
  return Object.values(dropped).reduce((sum, count) => sum + count, 0)
}
