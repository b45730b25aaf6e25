/** One measurement with iperf3 through a tunnel: what arrived, and what the processes that carry it spent and hold. */

import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { errorMessage } from '../../src/api/errors.ts'
import type { TwoNamespaces } from '../two-namespaces.ts'
import { useCubicFor } from './congestion.ts'

export interface Sample {
  readonly gbps: number
  /** User and system time of the processes, seconds. */
  readonly cpu: number
  readonly gib: number
  /** The largest of the processes. */
  readonly rssMib: number
}

export interface IperfOptions {
  readonly address: string
  /** 5201 unless told. */
  readonly port?: number
  readonly seconds: number
  readonly args: readonly string[]
}

export interface MeasureOptions extends IperfOptions {
  /** TCP uses what the machine prefers. */
  readonly asHost?: boolean
}

const clockTicks = 100
const gibibyte = 2 ** 30
/** What iperf3 may take beside measuring, ms. */
const patience = 10_000
const serverStart = 200

/** The processes whose time is counted; a flood may drown iperf3's own connection: then once more. */
export async function measure(
  spaces: TwoNamespaces,
  pids: readonly number[],
  { asHost = false, ...options }: MeasureOptions,
): Promise<Sample> {
  using _ = asHost ? undefined : useCubicFor(spaces, options)
  for (let tries = 1; ; tries++) {
    const before = cpuOf(pids)
    const gbps = await throughput(spaces, options)
    if (gbps !== undefined) {
      const gib = gibibytes(gbps, options.seconds)
      return { gbps, cpu: cpuOf(pids) - before, gib, rssMib: Math.max(0, ...pids.map(rssOf)) }
    }
    if (tries === 2) throw new Error(`iperf3 ${options.args.join(' ')} to ${options.address} failed twice`)
  }
}

export function gibibytes(gbps: number, seconds: number): number {
  return (gbps * 1e9 * seconds) / 8 / gibibyte
}

/** Nobody is measured while it still compiles itself or its buffers grow. */
export async function warmUp(spaces: TwoNamespaces, options: Pick<IperfOptions, 'address' | 'port'>): Promise<void> {
  await throughput(spaces, { ...options, seconds: 1, args: [] })
}

/** Gbit/s received; `undefined` when iperf3 did not say. */
export async function throughput(spaces: TwoNamespaces, options: IperfOptions): Promise<number | undefined> {
  const { address, port = 5201, seconds, args } = options
  const there = ['-p', String(port)]
  const server = spaces.start('b', 'iperf3', ['-s', '-1', '-B', address, ...there])
  try {
    await pause(serverStart)
    const command = ['-c', address, ...there, '-J', '-t', String(seconds), ...args]
    return received(await spaces.output('a', 'iperf3', { args: command, within: seconds * 1000 + patience }))
  } finally {
    server.kill('SIGKILL')
  }
}

interface Total {
  readonly bits_per_second?: number
  readonly lost_percent?: number
}

/**
 * Gbit/s. A TCP run says what was received, a UDP run only what was sent and which share of it was lost. `undefined` when the
 * output is none, or that of a run that failed.
 */
export function received(output: string): number | undefined {
  const end = parse(output)?.end
  const tcp = end?.sum_received?.bits_per_second
  if (tcp !== undefined) return tcp / 1e9
  const udp = end?.sum?.bits_per_second
  return udp === undefined ? undefined : (udp / 1e9) * (1 - (end?.sum?.lost_percent ?? 0) / 100)
}

function parse(output: string): { readonly end?: { readonly sum?: Total; readonly sum_received?: Total } } | undefined {
  try {
    return JSON.parse(output)
  } catch (error) {
    process.stderr.write(`iperf3 was not understood: ${errorMessage(error)}\n`)
    return undefined
  }
}

/** `ip netns exec` becomes the program: the pid is its own. Times are fields 14 and 15 of /proc/PID/stat. */
export function cpuOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return sum + (Number(fields[11]) + Number(fields[12])) / clockTicks
  }, 0)
}

export function rssOf(pid: number): number {
  const kib = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kib) / 1024
}
