/** The steps of a run, each measured where a person would: at the command line and through the tunnel. */

import { PunchGuardError } from '../src/api/errors.ts'
import type { PingReply } from './agent.ts'
import { machineTime } from './processes/agent-protocol.ts'
import type { Actor, Scene } from './scene.ts'
import { limited, pause } from './waiting.ts'

export interface Paired {
  /** From the invite typed on b to both ends having pinned each other. */
  readonly milliseconds: number
  /** Of each device in the tunnel, IPv4. */
  readonly tunnel: { readonly a: string; readonly b: string }
}

/** Invites on a, joins on b; both commands run until both ends have pinned each other. */
export async function pair({ a, b }: Scene, signal: AbortSignal): Promise<Paired> {
  let invited: (code: string) => void = () => {}
  const code = new Promise<string>((resolve) => {
    invited = resolve
  })
  const inviting = a.device.follow(['pair', '--json'], (line) => {
    const found = /"code":\s*"(pgi1[^"]+)"/.exec(line)?.[1]
    if (found !== undefined) invited(found)
  })
  inviting.catch(() => {})
  const typed = await limited(Promise.race([code, inviting.then(() => code)]), {
    within: 60_000,
    what: 'an invite on a',
    signal,
  })
  const begin = machineTime()
  const joining = b.device.follow(['pair', typed, '--json'], () => {})
  await limited(Promise.all([inviting, joining]), { within: 60_000, what: 'pairing', signal })
  const milliseconds = machineTime() - begin
  return { milliseconds, tunnel: { a: await addressOfPeer(b), b: await addressOfPeer(a) } }
}

/** The one that an IPv4 program can use in the tunnel, as `status` says. */
async function addressOfPeer({ device }: Actor): Promise<string> {
  const { peers } = await device.status()
  const address = peers[0]?.addresses.find((one) => one.includes('.'))?.split('/')[0]
  if (address !== undefined) return address
  throw new PunchGuardError('DAEMON_FAILED', `status on ${device.name} shows no IPv4 address of its peer`, {
    hint: 'run with --verbose to see what the devices say',
  })
}

/** What a step through the tunnel needs. `address`: of the other device in the tunnel. */
export interface ThroughTunnel {
  readonly address: string
  readonly signal: AbortSignal
}

/**
 * Types `up` on both at once. `address` is b's.
 * @returns ms until the first ping from a through the tunnel is answered
 */
export async function up({ a, b }: Scene, { address, signal }: ThroughTunnel): Promise<number> {
  const begin = machineTime()
  const upOnBoth = Promise.all([a.device.run(['up']), b.device.run(['up'])])
  const first = firstReply(a, { address, signal })
  const [reply] = await Promise.all([first, upOnBoth])
  return reply.at - begin
}

/** @throws PunchGuardError TIMEOUT when there is none within 60 s */
export async function firstReply(from: Actor, { address, signal }: ThroughTunnel): Promise<PingReply> {
  let answered: (reply: PingReply) => void = () => {}
  const reply = new Promise<PingReply>((resolve) => {
    answered = resolve
  })
  const pinging = from.agent.ping({ address, interval: 20 }, answered)
  try {
    return await limited(reply, { within: 60_000, what: 'a ping through the tunnel', signal })
  } finally {
    pinging[Symbol.dispose]()
  }
}

/** Median round trip of ten pings through the tunnel, ms. */
export async function roundTrip(from: Actor, { address, signal }: ThroughTunnel): Promise<number> {
  const times: number[] = []
  let enough: () => void = () => {}
  const ten = new Promise<void>((resolve) => {
    enough = resolve
  })
  const pinging = from.agent.ping({ address, interval: 50 }, ({ sentAt, at }) => {
    if (times.push(at - sentAt) >= 10) enough()
  })
  try {
    await limited(ten, { within: 30_000, what: `ten pings from ${from.device.name}`, signal })
  } finally {
    pinging[Symbol.dispose]()
  }
  return median(times)
}

export interface CopyResult {
  readonly bytes: number
  readonly equal: boolean
  readonly megabitsPerSecond: number
}

/** Copies from a to b, at `address`, over TCP inside the tunnel. */
export async function copy(
  { a, b }: Scene,
  { address, bytes, signal }: ThroughTunnel & { readonly bytes: number },
): Promise<CopyResult> {
  const port = await limited(b.agent.listen(), { within: 30_000, what: 'a TCP server on b', signal })
  const copying = a.agent.copy({ address, port, bytes })
  const { milliseconds, ...copied } = await limited(copying, { within: 180_000, what: 'the copy', signal })
  return { bytes: copied.bytes, equal: copied.equal, megabitsPerSecond: (copied.bytes * 8) / milliseconds / 1000 }
}

/**
 * Pings b, at `address`, each 20 ms from a while its public address changes, or while something else happens to it.
 * @returns the longest gap between two replies, ms
 */
export async function heal(
  { a }: Scene,
  { address, signal, disturb = () => a.place.move() }: ThroughTunnel & { readonly disturb?: () => void },
): Promise<number> {
  const replies: number[] = []
  const pinging = a.agent.ping({ address, interval: 20 }, ({ at }) => void replies.push(at))
  try {
    await pause(500, signal)
    disturb()
    const movedAt = machineTime()
    // Over when pings have come back without a long gap for a second, after the one the move made.
    while (!isSteadyAfter(replies, movedAt)) {
      await pause(100, signal)
      if (machineTime() - movedAt < 60_000) continue
      throw new PunchGuardError('TIMEOUT', 'the tunnel did not heal within 60 s', {
        hint: 'run with --verbose to see what the devices say',
      })
    }
  } finally {
    pinging[Symbol.dispose]()
  }
  return longestGap(replies)
}

/** Whether replies have come steadily for a second, in their time, of which the beginning lies well after `movedAt`. */
export function isSteadyAfter(replies: readonly number[], movedAt: number): boolean {
  const last = replies.at(-1) ?? 0
  const recent = replies.filter((at) => at > last - 1000)
  const first = recent[0] ?? last
  return first > movedAt + 500 && last - first > 900 && longestGap(recent) < 250
}

export function longestGap(times: readonly number[]): number {
  return times.reduce((longest, at, index) => Math.max(longest, at - (times[index - 1] ?? at)), 0)
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}
