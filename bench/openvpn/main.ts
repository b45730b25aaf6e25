/**
 * The OpenVPN guard between two namespaces over veth, beside the embedded guard and the bare link, alternated in one run;
 * and how long it is away when something happens to it. As root:
 *
 *   npm run bench:openvpn -- [--json] [--rounds N] [--seconds N] [--verbose]
 *
 * What each figure is and where it does not hold: bench/README.md.
 */

import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { type Figure, printFigures } from '../figures.ts'
import { attempt, type Bench, figure, note, ratio } from '../guard/bench.ts'
import { debian, openTunnel, type Tunnel, WireguardGo } from '../guard/carriers.ts'
import { measure, type Sample, warmUp } from '../guard/iperf.ts'
import { type GuardEnd, type Side, TwoNamespaces } from '../two-namespaces.ts'
import { inside, openvpn, processesIn, startOpenvpnEnd } from './ends.ts'

const flags = process.argv.slice(2)
const carriers = ['openvpn', 'ours', 'raw'] as const
type Carrier = (typeof carriers)[number]

/** As of the embedded guard in bench:guard. */
const mtu = 1420
/** Between two pings, ms. */
const pingInterval = 20
/** A tunnel that answers again for so long is back, ms. */
const steady = 400
/** For a tunnel to come back, ms. */
const patience = 15_000

function option(name: string): string | undefined {
  const at = flags.indexOf(`--${name}`)
  return at === -1 ? undefined : flags[at + 1]
}

interface OpenvpnTunnel {
  readonly ends: Record<Side, GuardEnd>
  readonly folder: string
}

async function openOpenvpn({ spaces }: Bench, folder: string): Promise<OpenvpnTunnel> {
  const b = await startOpenvpnEnd(spaces, 'b', { folder, mtu })
  const a = await startOpenvpnEnd(spaces, 'a', { folder, mtu })
  ping(spaces)
  return { ends: { a, b }, folder }
}

function ping(spaces: TwoNamespaces): void {
  spaces.run('a', 'ping', ['-c', '1', '-w', '10', '-i', '0.2', inside.b])
}

async function closeOpenvpn(tunnel: OpenvpnTunnel): Promise<void> {
  for (const end of Object.values(tunnel.ends)) await end.ask('stop')
}

/** One TCP stream through each carrier. */
async function measureThroughput(bench: Bench, folder: string): Promise<readonly Figure[]> {
  const { spaces } = bench
  const samples: Record<Carrier, Sample[]> = { openvpn: [], ours: [], raw: [] }
  const run = async (carrier: Carrier, tunnel: Pick<Tunnel, 'address' | 'pids'>): Promise<void> => {
    await warmUp(spaces, tunnel)
    const sample = await measure(spaces, tunnel.pids, { address: tunnel.address, seconds: bench.seconds, args: [] })
    samples[carrier].push(sample)
    note(`${carrier} ${sample.gbps.toFixed(3)} Gbit/s, ${(sample.cpu / sample.gib).toFixed(2)} CPU-s/GiB`)
  }
  for (let round = 1; round <= bench.rounds; round++)
    for (const carrier of carriers)
      await attempt(bench, `round ${round}, ${carrier}`, async () => {
        if (carrier === 'openvpn') {
          const tunnel = await openOpenvpn(bench, folder)
          const pids = [...processesIn(spaces, 'a'), ...processesIn(spaces, 'b')]
          await run(carrier, { address: inside.b, pids })
          await closeOpenvpn(tunnel)
        } else {
          const tunnel = await openTunnel(spaces, carrier, bench)
          await run(carrier, tunnel)
          await tunnel.close()
        }
      })
  const gbps = (carrier: Carrier): number[] => samples[carrier].map((sample) => sample.gbps)
  return [
    figure('openvpn_tcp1_gbps', 'Gbit/s', gbps('openvpn')),
    figure('embedded_tcp1_gbps', 'Gbit/s', gbps('ours')),
    figure('raw_tcp1_gbps', 'Gbit/s', gbps('raw')),
    ratio('embedded_over_openvpn', gbps('ours'), gbps('openvpn')),
    figure(
      'openvpn_cpu_per_gib',
      's/GiB',
      samples.openvpn.map(({ cpu, gib }) => cpu / gib),
    ),
  ]
}

/** How long no reply came around something that is done to the tunnel, ms. */
async function gap(spaces: TwoNamespaces, act: () => Promise<void>): Promise<number> {
  const pings = spaces.start('a', 'ping', ['-i', String(pingInterval / 1000), inside.b])
  const replies: number[] = []
  if (pings.stdout === null) throw new Error('ping has no standard output')
  createInterface({ input: pings.stdout }).on('line', (line) => {
    if (line.includes('bytes from')) replies.push(performance.now())
  })
  while (replies.length < 10) await pause(pingInterval)
  const actedAt = performance.now()
  await act()
  const isBack = (): boolean => {
    const [longest, endedAt] = longestGap(replies)
    return longest > 5 * pingInterval && endedAt > actedAt && (replies.at(-1) ?? 0) - endedAt > steady
  }
  while (!isBack() && performance.now() - actedAt < patience) await pause(pingInterval)
  pings.kill('SIGKILL')
  if (!isBack()) throw new Error('the tunnel did not come back, or was not away')
  return longestGap(replies)[0]
}

function longestGap(times: readonly number[]): readonly [length: number, endedAt: number] {
  return times.reduce<readonly [number, number]>(
    (longest, time, at) => {
      const length = time - (times[at - 1] ?? time)
      return length > longest[0] ? [length, time] : longest
    },
    [0, 0],
  )
}

/** From the start of a process until it said that it is connected, ms. */
async function connectTime(end: GuardEnd): Promise<number> {
  const events: unknown = await end.ask('events')
  if (!Array.isArray(events)) throw new Error('no events')
  const used = events.findIndex(({ kind }) => kind === 'used')
  const established = events.find(({ kind }, at) => kind === 'established' && at > used)
  return established.at - events[used].at
}

async function measureReconnects(bench: Bench, folder: string): Promise<readonly Figure[]> {
  const { spaces } = bench
  const times: Record<'connect' | 'killed' | 'path' | 'peer', number[]> = {
    connect: [],
    killed: [],
    path: [],
    peer: [],
  }
  for (let round = 1; round <= bench.rounds; round++)
    await attempt(bench, `round ${round}, reconnects`, async () => {
      const tunnel = await openOpenvpn(bench, folder)
      const { ends } = tunnel
      times.connect.push(await connectTime(ends.a))
      times.killed.push(
        await gap(spaces, async () => {
          for (const pid of processesIn(spaces, 'a')) process.kill(pid, 'SIGKILL')
        }),
      )
      times.path.push(
        await gap(spaces, async () => {
          await Promise.all(Object.values(ends).map((end) => end.ask('use 51820')))
        }),
      )
      times.peer.push(
        await gap(spaces, async () => {
          ends.b.child.kill('SIGKILL')
          while (processesIn(spaces, 'b').length > 0) await pause(10)
          ends.b = await startOpenvpnEnd(spaces, 'b', { folder, mtu })
        }),
      )
      note(
        Object.entries(times)
          .map(([name, all]) => `${name} ${all.at(-1)?.toFixed(0)} ms`)
          .join(', '),
      )
      await closeOpenvpn(tunnel)
    })
  return [
    figure('openvpn_connect_ms', 'ms', times.connect),
    figure('openvpn_killed_gap_ms', 'ms', times.killed),
    figure('openvpn_new_path_gap_ms', 'ms', times.path),
    figure('openvpn_peer_restart_gap_ms', 'ms', times.peer),
  ]
}

async function run(): Promise<boolean> {
  if (process.getuid?.() !== 0) throw new Error('the namespaces need root')
  if (!existsSync(openvpn)) throw new Error('openvpn is not installed: apt install openvpn')
  const folder = mkdtempSync(join(tmpdir(), 'punchguard-bench-'))
  const spaces = new TwoNamespaces(`pg-o${process.pid}`)
  const failures: string[] = []
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  try {
    using wireguardGo = await WireguardGo.find(debian)
    const bench: Bench = {
      spaces,
      wireguardGo,
      rounds: Number(option('rounds') ?? 5),
      seconds: Number(option('seconds') ?? 3),
      failures,
    }
    const figures = [...(await measureThroughput(bench, folder)), ...(await measureReconnects(bench, folder))]
    return printFigures(figures, { json: flags.includes('--json'), failures })
  } finally {
    await spaces.endPrograms()
    spaces.close()
  }
}

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => process.exit(130))
process.exitCode = (await run()) ? 0 : 1
