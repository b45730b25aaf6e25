/**
 * Eight devices in b, each with its own keys, towards one device in a that has eight peers, over one such device: eight
 * TCP streams in both cases, each of an iperf3 of its own.
 */

import type { Figure } from '../figures.ts'
import { outside } from '../two-namespaces.ts'
import { atLeast, attempt, type Bench, figure, note, ratio } from './bench.ts'
import { inside, mtu, port, privateKeys, publicKeyOf } from './carriers.ts'
import { useCubic } from './congestion.ts'
import { cpuOf, gibibytes, throughput, warmUp } from './iperf.ts'

const manyPeers = 8
const streams = 8
const firstServer = 5201
const common = { mtu, plane: 'workers' } as const

/** One run of all streams. */
interface Total {
  readonly gbps: number
  /** User and system time of the one device, seconds for each GiB. */
  readonly cost: number
}

export async function measureManyPeers(bench: Bench): Promise<readonly Figure[]> {
  const totals: Record<number, Total[]> = { 1: [], [manyPeers]: [] }
  for (let round = 1; round <= bench.rounds; round++)
    for (const peers of [1, manyPeers])
      await attempt(bench, `${peers} peers, round ${round}`, async () => {
        const total = await totalOver(bench, peers)
        totals[peers]?.push(total)
        note(`${peers} peers ${total.gbps.toFixed(3)} Gbit/s, one device ${total.cost.toFixed(2)} CPU-s/GiB`)
      })
  const [many, one] = [totals[manyPeers] ?? [], totals[1] ?? []]
  const speeds = (of: readonly Total[]): readonly number[] => of.map(({ gbps }) => gbps)
  const costs = (of: readonly Total[]): readonly number[] => of.map(({ cost }) => cost)
  return [
    atLeast(0.85, ratio('peers8_ratio', speeds(many), speeds(one))),
    figure('peers8_gbps', 'Gbit/s', speeds(many)),
    ratio('peers8_cpu_ratio', costs(many), costs(one)),
  ]
}

/** A stream of which iperf3 says nothing spoils the run, which is repeated once. */
async function totalOver(bench: Bench, peers: number): Promise<Total> {
  for (let tries = 1; ; tries++) {
    const { rates, cpu } = await ratesOver(bench, peers)
    const known = rates.filter((rate) => rate !== undefined)
    const gbps = known.reduce((sum, rate) => sum + rate, 0)
    if (known.length === streams) return { gbps, cost: cpu / gibibytes(gbps, bench.seconds) }
    if (tries === 2) throw new Error(`${streams - known.length} of ${streams} streams failed, twice`)
  }
}

async function ratesOver(
  bench: Bench,
  peers: number,
): Promise<{ readonly rates: readonly (number | undefined)[]; readonly cpu: number }> {
  const { spaces, seconds } = bench
  const addresses = Array.from({ length: peers }, (_, at) => `10.99.0.${10 + at}`)
  try {
    const pid = await startEnds(bench, addresses)
    for (const to of addresses) {
      spaces.run('a', 'ping', ['-c', '1', '-w', '10', '-i', '0.2', to])
      useCubic(spaces, 'a', to)
    }
    const ends = Array.from({ length: streams }, (_, at) => ({
      address: addresses[at % peers] ?? '',
      port: firstServer + at,
    }))
    await Promise.all(ends.map((end) => warmUp(spaces, end)))
    const before = cpuOf([pid])
    const rates = await Promise.all(ends.map((end) => throughput(spaces, { ...end, seconds, args: [] })))
    return { rates, cpu: cpuOf([pid]) - before }
  } finally {
    await spaces.endPrograms()
    for (const at of addresses.keys()) spaces.tryRun('b', 'ip', ['rule', 'del', 'table', tableOf(at)])
  }
}

/** The process id of the one in a. */
async function startEnds({ spaces }: Bench, addresses: readonly string[]): Promise<number> {
  const ends = addresses.map((address, at) => ({ address, privateKey: (0x30 + at).toString(16).repeat(32) }))
  const { child } = await spaces.startEnd('a', {
    ...common,
    name: 'pgb0',
    port,
    privateKey: privateKeys.a,
    addresses: [`${inside.a}/24`],
    peers: ends.map(({ privateKey, address }) => ({
      publicKey: publicKeyOf(privateKey),
      allowedIps: [`${address}/32`],
    })),
  })
  const publicKey = publicKeyOf(privateKeys.a)
  const peer = { publicKey, endpoint: { address: outside.a, port }, allowedIps: [`${inside.a}/32`] }
  for (const [at, { address, privateKey }] of ends.entries()) {
    const name = `pgb${at}`
    const own = { name, port: 51_900 + at, privateKey, addresses: [`${address}/32`] }
    await spaces.startEnd('b', { ...common, ...own, peers: [peer] })
    // Answers leave by the interface whose address they come from.
    spaces.ip('b', ['route', 'add', `${inside.a}/32`, 'dev', name, 'table', tableOf(at)])
    spaces.ip('b', ['rule', 'add', 'from', address, 'table', tableOf(at)])
  }
  return child.pid ?? 0
}

/** The routing table of one of the devices in b. */
function tableOf(at: number): string {
  return String(100 + at)
}
