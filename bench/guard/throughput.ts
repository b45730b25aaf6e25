/** Throughput, processor time, memory and round trip of every carrier, one after another in each round. */

import { existsSync } from 'node:fs'
import { median } from '../../lab/steps.ts'
import type { Figure } from '../figures.ts'
import { atLeast, attempt, type Bench, figure, nameOfNewest, note, ratio } from './bench.ts'
import { type Carrier, debian, openTunnel, type Tunnel } from './carriers.ts'
import { preferredHere } from './congestion.ts'
import { measure, type Sample, warmUp } from './iperf.ts'

const fourReversed = ['-P', '4', '-R']
const measurements = {
  tcp1: { args: [] },
  tcp4r: { args: fourReversed },
  udp1372: { args: ['-u', '-b', '0', '-l', '1372'] },
  udp512: { args: ['-u', '-b', '0', '-l', '512'] },
  udp128: { args: ['-u', '-b', '0', '-l', '128'] },
  udp300: { args: ['-u', '-b', '300M', '-l', '1372'] },
  tcp1host: { args: [], asHost: true },
  tcp4rhost: { args: fourReversed, asHost: true },
} as const

type Measurement = keyof typeof measurements

/** Each on a tunnel of its own: wireguard-go is the slower the more it has carried before. */
const series: readonly (readonly (Measurement | 'ping')[])[] = [
  ['tcp1'],
  ['tcp4r'],
  ['udp1372', 'udp512', 'udp128', 'udp300', 'ping'],
  ['tcp1host'],
  ['tcp4rhost'],
]

const everything = series.flat()
const ofCarrier: Readonly<Record<Carrier, typeof everything>> = {
  ours: everything,
  newest: everything,
  debian: ['tcp1'],
  raw: ['tcp1', 'tcp4r', 'tcp1host', 'tcp4rhost', 'ping'],
}

export const throughputNames: readonly string[] = everything

export async function measureThroughput(bench: Bench, wants: (what: string) => boolean): Promise<readonly Figure[]> {
  const results = new Results()
  note(`TCP uses cubic, and in *host what this machine prefers: ${preferredHere()}`)
  const carriers = (['ours', 'newest', 'debian', 'raw'] as const).filter(
    (carrier) => carrier !== 'debian' || existsSync(debian),
  )
  for (let round = 1; round <= bench.rounds; round++)
    for (const names of series)
      for (const carrier of carriers) {
        const wanted = names.filter((name) => ofCarrier[carrier].includes(name) && wants(name))
        if (wanted.length === 0) continue
        await attempt(bench, `round ${round}, ${carrier}`, async () => {
          const tunnel = await openTunnel(bench.spaces, carrier, bench)
          await warmUp(bench.spaces, tunnel)
          for (const what of wanted) {
            if (what === 'ping') results.addPing(carrier, pingTime(bench, tunnel))
            else await one(bench, tunnel, what, results)
          }
          await tunnel.close()
        })
      }
  return figuresOf(results, bench)
}

async function one(bench: Bench, tunnel: Tunnel, what: Measurement, results: Results): Promise<void> {
  const { carrier, pids, address } = tunnel
  const sample = await measure(bench.spaces, pids, { address, seconds: bench.seconds, ...measurements[what] })
  results.add(carrier, what, sample)
  const { gbps, rssMib } = sample
  note(
    `${carrier} ${what} ${gbps.toFixed(3)} Gbit/s ${cost(sample).toFixed(2)} CPU-s/GiB, ${rssMib.toFixed(0)} MiB resident`,
  )
}

/** Median round trip of a hundred pings, microseconds. */
function pingTime({ spaces }: Bench, { address }: Tunnel): number {
  const output = spaces.run('a', 'ping', ['-c', '100', '-i', '0.01', address])
  return median([...output.matchAll(/time=([\d.]+) ms/g)].map(([, time]) => Number(time) * 1000))
}

type Value = (sample: Sample) => number

const speed: Value = ({ gbps }) => gbps
const cost: Value = ({ cpu, gib }) => cpu / gib
const resident: Value = ({ rssMib }) => rssMib

class Results {
  readonly #samples: Map<string, Sample[]> = new Map()
  readonly #pings: Map<Carrier, number[]> = new Map()

  add(carrier: Carrier, what: Measurement, sample: Sample): void {
    const key = `${carrier} ${what}`
    this.#samples.set(key, [...(this.#samples.get(key) ?? []), sample])
  }

  addPing(carrier: Carrier, microseconds: number): void {
    this.#pings.set(carrier, [...(this.#pings.get(carrier) ?? []), microseconds])
  }

  of(carrier: Carrier, what: Measurement, value: Value): readonly number[] {
    return (this.#samples.get(`${carrier} ${what}`) ?? []).map(value)
  }

  /** Over the bare link. */
  pingsAdded(carrier: Carrier): readonly number[] {
    const bare = median(this.#pings.get('raw') ?? [])
    return (this.#pings.get(carrier) ?? []).map((time) => time - bare)
  }
}

function figuresOf(results: Results, bench: Bench): readonly Figure[] {
  const newest = nameOfNewest(bench)
  const over = (name: string, what: Measurement, value: Value, peer: 'newest' | 'debian' = 'newest'): Figure =>
    ratio(name, results.of('ours', what, value), results.of(peer, what, value))
  const beside = (name: string, unit: string, what: Measurement, value: Value): Figure => ({
    ...figure(name, unit, results.of('ours', what, value)),
    peer: newest,
    peer_value: median(results.of('newest', what, value)),
  })
  const bare = (name: string, what: Measurement): Figure => figure(name, 'Gbit/s', results.of('raw', what, speed))
  const peerPing = median(results.pingsAdded('newest'))
  return [
    atLeast(1.9, over('tcp1_ratio', 'tcp1', speed)),
    atLeast(1.9, over('tcp4r_ratio', 'tcp4r', speed)),
    over('tcp1_ratio_host', 'tcp1host', speed),
    over('tcp4r_ratio_host', 'tcp4rhost', speed),
    atLeast(4.5, over('tcp1_ratio_2022', 'tcp1', speed, 'debian')),
    { ...over('cpu_per_gib_ratio', 'tcp1', cost), bar: 0.5 },
    atLeast(2.5, over('udp1372_ratio', 'udp1372', speed)),
    atLeast(1.5, over('udp512_ratio', 'udp512', speed)),
    atLeast(4, over('udp128_ratio', 'udp128', speed)),
    { ...over('udp300_cpu_ratio', 'udp300', cost), bar: 0.3 },
    { ...beside('rss_mib', 'MiB', 'tcp1', resident), bar: 90 },
    {
      ...figure('ping_added_us', 'us', results.pingsAdded('ours')),
      bar: peerPing,
      peer: newest,
      peer_value: peerPing,
    },
    figure('ping_added_us_peer', 'us', results.pingsAdded('newest')),
    beside('tcp1_gbps', 'Gbit/s', 'tcp1', speed),
    beside('tcp4r_gbps', 'Gbit/s', 'tcp4r', speed),
    beside('udp1372_gbps', 'Gbit/s', 'udp1372', speed),
    beside('udp512_gbps', 'Gbit/s', 'udp512', speed),
    beside('udp128_gbps', 'Gbit/s', 'udp128', speed),
    bare('raw_gbps', 'tcp1'),
    bare('raw_tcp4r_gbps', 'tcp4r'),
    beside('tcp1_gbps_host', 'Gbit/s', 'tcp1host', speed),
    beside('tcp4r_gbps_host', 'Gbit/s', 'tcp4rhost', speed),
    bare('raw_gbps_host', 'tcp1host'),
    bare('raw_tcp4r_gbps_host', 'tcp4rhost'),
    beside('cpu_per_gib', 'CPU-s', 'tcp1', cost),
    beside('tcp4r_cpu_per_gib', 'CPU-s', 'tcp4r', cost),
    beside('udp300_cpu_per_gib', 'CPU-s', 'udp300', cost),
  ]
}
