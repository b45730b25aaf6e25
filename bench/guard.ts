/**
 * The embedded guard against wireguard-go, between two namespaces over veth, alternated in one run. As root:
 *
 *   npm run bench:guard -- [--json] [--rounds N] [--seconds N] [--only NAME,NAME] [--newest PROGRAM]
 *
 * What each figure is and where it does not hold: bench/README.md.
 */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { importKeyPair } from '../src/guard/wireguard/crypto.ts'
import { toHex } from '../src/util/bytes.ts'
import { type Figure, printFigures } from './figures.ts'
import { outside, type Side, TwoNamespaces } from './two-namespaces.ts'
import { startWireguardGo } from './wireguard-go.ts'

type Carrier = 'ours' | 'newest' | 'debian' | 'raw'

/** One measured run of iperf3 through a carrier. */
interface Sample {
  readonly gbps: number
  /** User and system time of both ends of the tunnel, seconds. */
  readonly cpu: number
  readonly gib: number
  /** The larger of the two ends. */
  readonly rssMib: number
}

interface Tunnel {
  readonly carrier: Carrier
  /** The processes that carry it. */
  readonly pids: readonly number[]
  /** Where b listens. */
  readonly address: string
  close(): Promise<void>
}

const flags = process.argv.slice(2)
const isJson = flags.includes('--json')
const rounds = Number(option('rounds') ?? 5)
const seconds = Number(option('seconds') ?? 3)
const only = option('only')?.split(',')
const debian = '/usr/bin/wireguard-go'
const clockTicks = 100
const mib = 1024 * 1024
const privateKeys = { a: '11'.repeat(32), b: '22'.repeat(32) } as const
const inside = { a: '10.99.0.1', b: '10.99.0.2' } as const
const manyPeers = 8

/** A killed wireguard-go leaves its UAPI socket, so no name is used twice. */
let names = 0

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const note = (text: string): void => void process.stderr.write(`${text}\n`)

function option(name: string): string | undefined {
  const at = flags.indexOf(`--${name}`)
  return at === -1 ? undefined : flags[at + 1]
}

function publicKeyOf(privateKey: string): string {
  return toHex(importKeyPair(Uint8Array.from(Buffer.from(privateKey, 'hex'))).publicKey)
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((x, y) => x - y)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** Built through the Go module proxy, when there is Go. */
function buildNewest(folder: string): string | undefined {
  const given = option('newest')
  if (given !== undefined) return given
  try {
    execFileSync('go', ['install', 'golang.zx2c4.com/wireguard@latest'], {
      env: { ...process.env, GOBIN: folder, GOFLAGS: '-mod=mod' },
      stdio: 'ignore',
      timeout: 180_000,
    })
    return join(folder, 'wireguard')
  } catch {
    return undefined
  }
}

async function openTunnel(spaces: TwoNamespaces, carrier: Carrier, newest: string): Promise<Tunnel> {
  if (carrier === 'raw') return { carrier, pids: [], address: outside.b, close: async () => {} }
  const pids =
    carrier === 'ours' ? await openOurs(spaces) : await openGo(spaces, carrier === 'debian' ? debian : newest)
  spaces.run('a', 'ping', ['-c', '1', '-w', '10', '-i', '0.2', inside.b])
  return { carrier, pids, address: inside.b, close: () => spaces.endPrograms() }
}

function endOf(side: Side): {
  readonly privateKey: string
  readonly addresses: readonly string[]
  readonly peers: readonly {
    readonly publicKey: string
    readonly endpoint: { readonly address: string; readonly port: number }
    readonly allowedIps: readonly string[]
  }[]
} {
  const other = side === 'a' ? 'b' : 'a'
  const endpoint = { address: outside[other], port: 51_820 }
  const publicKey = publicKeyOf(privateKeys[other])
  return {
    privateKey: privateKeys[side],
    addresses: [`${inside[side]}/24`],
    peers: [{ publicKey, endpoint, allowedIps: [`${inside[other]}/32`] }],
  }
}

async function openOurs(spaces: TwoNamespaces): Promise<readonly number[]> {
  const pids: number[] = []
  for (const side of ['b', 'a'] as const) {
    const end = await spaces.startEnd(side, { name: 'pgb0', port: 51_820, mtu: 1420, plane: 'workers', ...endOf(side) })
    pids.push(end.child.pid ?? 0)
    while ((await end.ask('status'))['dataPlane'] === 'starting') await pause(20)
  }
  return pids
}

async function openGo(spaces: TwoNamespaces, program: string): Promise<readonly number[]> {
  const pids: number[] = []
  for (const side of ['b', 'a'] as const) {
    names++
    const name = `pgb${side}${process.pid % 100_000}n${names}`
    pids.push(await startWireguardGo(spaces, side, { program, name, port: 51_820, mtu: 1420, ...endOf(side) }))
  }
  return pids
}

/** `ip netns exec` becomes the program: the pid is its own. Times are fields 14 and 15 of /proc/PID/stat. */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / clockTicks
}

function rssOf(pid: number): number {
  const kib = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kib) / 1024
}

function cpuOfAll(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + cpuOf(pid), 0)
}

/** A flood may drown iperf3's own connection: then once more. */
async function iperf(spaces: TwoNamespaces, tunnel: Tunnel, args: readonly string[]): Promise<Sample> {
  const first = await tryIperf(spaces, tunnel, args)
  const sample = first ?? (await tryIperf(spaces, tunnel, args))
  if (sample === undefined) throw new Error(`iperf3 ${args.join(' ')} failed twice over ${tunnel.carrier}`)
  return sample
}

async function tryIperf(spaces: TwoNamespaces, tunnel: Tunnel, args: readonly string[]): Promise<Sample | undefined> {
  const server = spaces.start('b', 'iperf3', ['-s', '-1', '-B', tunnel.address])
  await pause(200)
  const before = cpuOfAll(tunnel.pids)
  const output = spaces.tryRun('a', 'iperf3', ['-c', tunnel.address, '-J', '-t', String(seconds), ...args])
  const cpu = cpuOfAll(tunnel.pids) - before
  const rssMib = Math.max(0, ...tunnel.pids.map(rssOf))
  server.kill('SIGKILL')
  const end = output === undefined ? undefined : JSON.parse(output).end
  const total = end?.sum_received?.bits_per_second === undefined ? end?.sum : end.sum_received
  if (total?.bits_per_second === undefined) return undefined
  const lost = total === end.sum ? (total.lost_percent ?? 0) / 100 : 0
  const bits = total.bits_per_second * (1 - lost)
  return { gbps: bits / 1e9, cpu, gib: (bits * seconds) / 8 / 1024 / mib, rssMib }
}

/** Median round trip of a hundred pings, microseconds. */
function pingTime(spaces: TwoNamespaces, tunnel: Tunnel): number {
  const output = spaces.run('a', 'ping', ['-c', '100', '-i', '0.01', tunnel.address])
  return median([...output.matchAll(/time=([\d.]+) ms/g)].map(([, time]) => Number(time) * 1000))
}

const measurements = {
  tcp1: [],
  tcp4r: ['-P', '4', '-R'],
  udp1372: ['-u', '-b', '0', '-l', '1372'],
  udp512: ['-u', '-b', '0', '-l', '512'],
  udp128: ['-u', '-b', '0', '-l', '128'],
  udp300: ['-u', '-b', '300M', '-l', '1372'],
} as const

type Measurement = keyof typeof measurements

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

  of(carrier: Carrier, what: Measurement, value: (sample: Sample) => number): readonly number[] {
    return (this.#samples.get(`${carrier} ${what}`) ?? []).map(value)
  }

  /** The median of one carrier over that of another. */
  ratio(what: Measurement, over: Carrier, value: (sample: Sample) => number): Pick<Figure, 'value' | 'unit' | 'runs'> {
    const own = this.of('ours', what, value)
    const theirs = this.of(over, what, value)
    return { value: median(own) / median(theirs), unit: 'x', runs: Math.min(own.length, theirs.length) }
  }

  pingOver(carrier: Carrier): Pick<Figure, 'value' | 'unit' | 'runs'> {
    const own = this.#pings.get(carrier) ?? []
    return { value: median(own) - median(this.#pings.get('raw') ?? []), unit: 'us', runs: own.length }
  }
}

const speed = (sample: Sample): number => sample.gbps
const cost = (sample: Sample): number => sample.cpu / sample.gib

function wants(what: string): boolean {
  return only === undefined || only.includes(what)
}

async function round(
  spaces: TwoNamespaces,
  results: Results,
  carriers: readonly Carrier[],
  newest: string,
): Promise<void> {
  for (const carrier of carriers) {
    const tunnel = await openTunnel(spaces, carrier, newest)
    for (const [what, args] of Object.entries(measurements) as [Measurement, readonly string[]][]) {
      if (!wants(what) || (carrier === 'debian' && what !== 'tcp1') || (carrier === 'raw' && what !== 'tcp1')) continue
      const sample = await iperf(spaces, tunnel, args)
      results.add(carrier, what, sample)
      note(
        `${carrier} ${what} ${sample.gbps.toFixed(3)} Gbit/s ${cost(sample).toFixed(2)} CPU-s/GiB ${sample.rssMib.toFixed(0)} MiB`,
      )
    }
    // Last, so that neither end is measured while it still compiles itself.
    if (wants('ping')) results.addPing(carrier, pingTime(spaces, tunnel))
    await tunnel.close()
  }
}

/** Eight devices in b, each with its own keys, towards one device in a with eight peers: total of one stream each. */
async function manyPeersRatio(spaces: TwoNamespaces): Promise<Pick<Figure, 'value' | 'unit' | 'runs'>> {
  const totals: Record<number, number[]> = { 1: [], [manyPeers]: [] }
  for (let count = 0; count < Math.min(rounds, 3); count++)
    for (const peers of [1, manyPeers]) totals[peers]?.push(await totalOver(spaces, peers))
  return { value: median(totals[manyPeers] ?? []) / median(totals[1] ?? []), unit: 'x', runs: totals[1]?.length ?? 0 }
}

async function totalOver(spaces: TwoNamespaces, peers: number): Promise<number> {
  const keys = Array.from({ length: peers }, (_, at) => (0x30 + at).toString(16).repeat(32))
  const common = { mtu: 1420, plane: 'workers' } as const
  await spaces.startEnd('a', {
    ...common,
    name: 'pgb0',
    port: 51_820,
    privateKey: privateKeys.a,
    addresses: [`${inside.a}/24`],
    peers: keys.map((key, at) => ({ publicKey: publicKeyOf(key), allowedIps: [`10.99.0.${10 + at}/32`] })),
  })
  const servers: string[] = []
  for (const [at, privateKey] of keys.entries()) {
    const address = `10.99.0.${10 + at}`
    await spaces.startEnd('b', {
      ...common,
      name: `pgb${at}`,
      port: 51_900 + at,
      privateKey,
      addresses: [`${address}/32`],
      peers: [
        {
          publicKey: publicKeyOf(privateKeys.a),
          endpoint: { address: outside.a, port: 51_820 },
          allowedIps: [`${inside.a}/32`],
        },
      ],
    })
    // Answers leave by the interface whose address they come from.
    spaces.ip('b', ['route', 'add', `${inside.a}/32`, 'dev', `pgb${at}`, 'table', String(100 + at)])
    spaces.ip('b', ['rule', 'add', 'from', address, 'table', String(100 + at)])
    spaces.start('b', 'iperf3', ['-s', '-1', '-B', address])
    servers.push(address)
  }
  await pause(1000)
  const results = await Promise.all(
    servers.map(
      (address) =>
        new Promise<number>((resolve) => {
          let output = ''
          const client = spaces.start('a', 'iperf3', ['-c', address, '-J', '-t', String(seconds)])
          client.stdout?.on('data', (part) => {
            output += part
          })
          client.on('exit', () => resolve(JSON.parse(output).end.sum_received.bits_per_second / 1e9))
        }),
    ),
  )
  for (const [at] of keys.entries()) spaces.ip('b', ['rule', 'del', 'table', String(100 + at)])
  await spaces.endPrograms()
  return results.reduce((sum, value) => sum + value, 0)
}

/** The lab's lossy link on both ends, then as it was. */
async function lossy(spaces: TwoNamespaces, newest: string): Promise<readonly Figure[]> {
  const values: Record<'ours' | 'newest' | 'raw', number[]> = { ours: [], newest: [], raw: [] }
  const netem = ['delay', '2ms', '2ms', 'loss', '0.25%', 'reorder', '0.5%', 'limit', '20000']
  for (const side of ['a', 'b'] as const)
    spaces.run(side, 'tc', ['qdisc', 'add', 'dev', 'veth0', 'root', 'netem', ...netem])
  for (let count = 0; count < rounds; count++)
    for (const carrier of ['ours', 'newest', 'raw'] as const) {
      const tunnel = await openTunnel(spaces, carrier, newest)
      values[carrier].push((await iperf(spaces, tunnel, [])).gbps)
      await tunnel.close()
    }
  for (const side of ['a', 'b'] as const) spaces.run(side, 'tc', ['qdisc', 'del', 'dev', 'veth0', 'root'])
  const over = (name: string, other: readonly number[], bar: number): Figure => ({
    name,
    value: median(values.ours) / median(other),
    unit: 'x',
    runs: values.ours.length,
    bar,
    more: true,
  })
  return [over('lossy_ratio_bare', values.raw, 0.8), over('lossy_ratio', values.newest, 1)]
}

function figuresOf(results: Results): readonly Figure[] {
  const atLeast = (name: string, bar: number, figure: Pick<Figure, 'value' | 'unit' | 'runs'>): Figure => ({
    name,
    ...figure,
    bar,
    more: true,
  })
  const plain = (name: string, values: readonly number[], unit: string): Figure => ({
    name,
    value: median(values),
    unit,
    runs: values.length,
  })
  const rss = results.of('ours', 'tcp1', ({ rssMib }) => rssMib)
  const peerPing = results.pingOver('newest')
  return [
    atLeast('tcp1_ratio', 1.9, results.ratio('tcp1', 'newest', speed)),
    atLeast('tcp4r_ratio', 1.9, results.ratio('tcp4r', 'newest', speed)),
    atLeast('tcp1_ratio_2022', 4.5, results.ratio('tcp1', 'debian', speed)),
    { name: 'cpu_per_gib_ratio', ...results.ratio('tcp1', 'newest', cost), bar: 0.5 },
    atLeast('udp1372_ratio', 2.5, results.ratio('udp1372', 'newest', speed)),
    atLeast('udp512_ratio', 1.5, results.ratio('udp512', 'newest', speed)),
    atLeast('udp128_ratio', 4, results.ratio('udp128', 'newest', speed)),
    { name: 'udp300_cpu_ratio', ...results.ratio('udp300', 'newest', cost), bar: 0.3 },
    { ...plain('rss_mib', rss, 'MiB'), bar: 90 },
    { name: 'ping_added_us', ...results.pingOver('ours'), bar: peerPing.value },
    { name: 'ping_added_us_peer', ...peerPing },
    plain('tcp1_gbps', results.of('ours', 'tcp1', speed), 'Gbit/s'),
    plain('raw_gbps', results.of('raw', 'tcp1', speed), 'Gbit/s'),
  ]
}

async function main(): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('the namespaces need root')
  const folder = mkdtempSync(join(tmpdir(), 'punchguard-bench-'))
  const built = buildNewest(folder)
  const newest = built ?? debian
  const failures: string[] = []
  if (built === undefined) failures.push('the newest wireguard-go was not built: compared with the one of Debian')
  if (!existsSync(debian)) failures.push('wireguard-go of Debian is not installed')
  const spaces = new TwoNamespaces(`pg-b${process.pid}`)
  const figures: Figure[] = []
  try {
    const results = new Results()
    const carriers: Carrier[] = existsSync(debian) ? ['ours', 'newest', 'debian', 'raw'] : ['ours', 'newest', 'raw']
    for (let count = 0; count < rounds; count++) await round(spaces, results, carriers, newest)
    figures.push(...figuresOf(results))
    if (wants('peers8'))
      figures.push({ name: 'peers8_ratio', ...(await manyPeersRatio(spaces)), bar: 0.85, more: true })
    if (wants('lossy')) figures.push(...(await lossy(spaces, newest)))
  } finally {
    await spaces.endPrograms()
    spaces.close()
    rmSync(folder, { recursive: true })
    for (const left of readdirSync('/var/run/wireguard').filter((name) => name.startsWith('pgb')))
      rmSync(join('/var/run/wireguard', left), { force: true })
  }
  const shown = only === undefined ? figures : figures.filter(({ runs }) => runs > 0)
  process.exitCode = printFigures(shown, { json: isJson, failures }) ? 0 : 1
}

await main()
