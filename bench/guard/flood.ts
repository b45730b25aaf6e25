/**
 * What a session keeps of its throughput while 50 000 forged initiations a second arrive at the end that receives its
 * TCP stream. Each run with a flood stands between two without, so that a machine that is busy with something else for a
 * while does not decide. As a control the same flood goes to a port where nobody listens, for what sender and kernel
 * take of the shared processor anyway.
 */

import { fileURLToPath } from 'node:url'
import { median } from '../../lab/steps.ts'
import type { Figure } from '../figures.ts'
import { GuardEnd, outside } from '../two-namespaces.ts'
import { atLeast, attempt, type Bench, figure, nameOfNewest, note } from './bench.ts'
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
/** Rounds in which wireguard-go is flooded too. */
const peerRounds = 3

interface Flood {
  readonly rate: number
  readonly cpu: number
}

/** What was seen over all rounds. */
interface Seen {
  readonly kept: Readonly<Record<'ours' | 'newest' | 'control', number[]>>
  readonly floods: Flood[]
  /** MiB. */
  readonly growth: number[]
}

export async function measureFlood(bench: Bench): Promise<readonly Figure[]> {
  const seen: Seen = { kept: { ours: [], newest: [], control: [] }, floods: [], growth: [] }
  for (let round = 1; round <= bench.rounds; round++) {
    await attempt(bench, `flood, round ${round}, ours`, () => floodOurs(bench, seen))
    if (round <= peerRounds) await attempt(bench, `flood, round ${round}, newest`, () => floodNewest(bench, seen))
  }
  const { kept, floods, growth } = seen
  const reached = floods.map((flood) => flood.rate)
  const spent = floods.map(({ cpu }) => cpu)
  if (median(reached) < leastRate) bench.failures.push(`only ${median(reached).toFixed(0)} forged initiations a second`)
  return [
    {
      ...atLeast(0.7, figure('flood_keep', 'x', kept.ours)),
      peer: nameOfNewest(bench),
      peer_value: median(kept.newest),
    },
    { ...figure('flood_rss_growth_mib', 'MiB', growth), bar: 8 },
    figure('flood_rate', '1/s', reached),
    figure('flood_keep_control', 'x', kept.control),
    figure('flood_sender_cpu', 'CPU-s/s', spent),
  ]
}

async function floodOurs(bench: Bench, { kept, floods, growth }: Seen): Promise<void> {
  const tunnel = await openTunnel(bench.spaces, 'ours', bench)
  await warmUp(bench.spaces, tunnel)
  await carry({ ...bench, seconds: warmUpSeconds }, tunnel, port)
  const [pid = 0] = tunnel.pids
  const { gbps: first } = await carry(bench, tunnel)
  const [resident, dropped] = [rssOf(pid), await dropsOf(tunnel)]
  const flooded = await carry(bench, tunnel, port)
  growth.push(rssOf(pid) - resident)
  if (flooded.flood !== undefined) floods.push(flooded.flood)
  const arrived = (await dropsOf(tunnel)) - dropped
  // On a busy machine the socket's buffer drops some before we do.
  if (arrived < (bench.seconds * rate) / 2) bench.failures.push(`only ${arrived} forged initiations arrived`)
  const { gbps: second } = await carry(bench, tunnel)
  const control = await carry(bench, tunnel, closedPort)
  const { gbps: third } = await carry(bench, tunnel)
  kept.ours.push((2 * flooded.gbps) / (first + second))
  kept.control.push((2 * control.gbps) / (second + third))
  tell('ours', [first, flooded.gbps, second, control.gbps, third])
  await tunnel.close()
}

async function floodNewest(bench: Bench, { kept }: Seen): Promise<void> {
  const tunnel = await openTunnel(bench.spaces, 'newest', bench)
  await warmUp(bench.spaces, tunnel)
  const { gbps: first } = await carry(bench, tunnel)
  const { gbps } = await carry(bench, tunnel, port)
  const { gbps: second } = await carry(bench, tunnel)
  kept.newest.push((2 * gbps) / (first + second))
  tell('newest', [first, gbps, second])
  await tunnel.close()
}

/** Without and with a flood, in turns. */
function tell(carrier: string, rates: readonly number[]): void {
  note(`${carrier} without and with a flood: ${rates.map((gbps) => gbps.toFixed(3)).join(', ')} Gbit/s`)
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
