/**
 * One peer's story, from top to bottom: try the endpoint of last time, meanwhile find the peer and open a path with it,
 * start the tunnel on whichever comes first, watch it, and when it dies begin again. Signalling stays up all the while.
 * What the story may never do: call a peer connected before packets passed both ways, or stop trying by itself.
 */

import type { Endpoint } from '../api/endpoint.ts'
import { errorMessage, PunchGuardError } from '../api/errors.ts'
import type { SecretKey } from '../api/keys.ts'
import type { GuardKind, GuardPeer, Path, Puncher } from '../api/roles.ts'
import { type Clock, delay } from '../util/clock.ts'
import type { Logger } from '../util/logger.ts'
import type { Random } from '../util/random.ts'
import { backoff } from './backoff.ts'
import { type GuardConflict, guardConflict, guardParametersOf, introduceGuards, isReady } from './guards.ts'
import type { PeerLink } from './link.ts'
import { explain, type SessionState } from './state.ts'

/** What the two ends remember of the last path that worked. */
export interface CachedPath {
  readonly remote: Endpoint
  readonly presharedKey: SecretKey
  /** What the peer's guard told of itself (`Guard.parameters`). */
  readonly guardParameters?: Uint8Array | undefined
}

export interface SessionParts {
  /** The peer's name, for people. */
  readonly peer: string
  readonly link: PeerLink
  readonly puncher: Puncher
  readonly guardKind: GuardKind
  readonly guardPeer: GuardPeer
  readonly cached: () => CachedPath | undefined
  readonly remember: (path: CachedPath) => void
  /** The pre-shared key of the last agreement, from before a restart too. */
  readonly presharedKey: () => SecretKey | undefined
  readonly enter: (state: SessionState) => void
  /** Calls back when this machine's network changed or it woke from sleep. */
  readonly watchNetwork: (listener: () => void) => Disposable
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

/** The cached endpoint is tried alone for so long, ms: opening a new path would only disturb a peer that is still there. */
const cachedHeadStart = 400
/** The same where the endpoint was in use until now: enough to find out that it works after all. */
const lostHeadStart = 120
/** A peer that asks for a new path just when the cached endpoint answered may have found that too by now, ms. */
const resumedGrace = 1000
/** One attempt to open a path, ms. */
const punchTimeout = 15_000
/** From a path to packets both ways, ms. */
const joinTimeout = 6000
/** After this the end whose turn it is not starts the handshake too: the other may not know that one is due. ms. */
const joinPatience = 1500
/** One try of the cached endpoint, ms; then pauses that double. */
const resumeTimeout = 5000

/** The attempt must begin again because the peer did, or because the channel to it was lost. */
const beginAgain = Symbol('begin again')

/** Runs until `signal` is aborted; never throws. */
export async function runSession(parts: SessionParts, signal: AbortSignal): Promise<void> {
  const { guardPeer, link, enter } = parts
  let failures = 0
  let loss: string | undefined
  using _guards = introduceGuards(parts)
  while (!signal.aborted) {
    try {
      await using path = await openPath(loss === undefined ? parts : healing(parts, loss), {
        headStart: loss === undefined ? cachedHeadStart : lostHeadStart,
        signal,
      })
      await join(parts, { path, signal })
      failures = 0
      loss = await watch(parts, { path, signal })
      enter({ kind: 'healing', reason: loss })
      link.nudge()
    } catch (error) {
      if (signal.aborted) break
      if (link.state.kind === 'refused') {
        enter({ kind: 'refused', fingerprint: link.state.reason })
        guardPeer.use(undefined)
        await untilAborted(signal)
        break
      }
      failures++
      loss = undefined
      await rest(parts, { failures, error, signal })
    }
  }
  guardPeer.use(undefined)
  enter({ kind: 'down' })
}

/** The same parts while a lost path is replaced: the steps are told as healing, until the peer itself is gone. */
function healing(parts: SessionParts, loss: string): SessionParts {
  let gone = false
  return {
    ...parts,
    enter: (state) => {
      gone ||= state.kind === 'reaching'
      if (gone || state.kind === 'joining') parts.enter(state)
      else parts.enter({ kind: 'healing', reason: `${loss}; ${explain(state, parts.peer).reason}` })
    },
  }
}

/** The first path that answers: the one of last time, or a new one. */
async function openPath(
  parts: SessionParts,
  options: { readonly headStart: number; readonly signal: AbortSignal },
): Promise<Path> {
  const attempt = new AbortController()
  const both = AbortSignal.any([options.signal, attempt.signal])
  const cached = parts.cached()
  const headStart = cached === undefined ? 0 : options.headStart
  if (cached !== undefined) parts.enter({ kind: 'resuming' })
  const ways = [punchPath(parts, { headStart, signal: both })]
  if (cached !== undefined) ways.push(resumePath(parts, { cached, signal: both }))
  try {
    return await firstPath(ways)
  } finally {
    attempt.abort(new Error('Another way was faster'))
  }
}

/** Probes the cached endpoint, quickly at first, then ever more seldom: the peer may be away for days. */
async function resumePath(
  parts: SessionParts,
  options: { readonly cached: CachedPath; readonly signal: AbortSignal },
): Promise<Path> {
  const { puncher, link, clock, random } = parts
  const { cached, signal } = options
  for (let tries = 1; ; tries++) {
    await link.until(() => guardConflict(parts) === undefined, signal)
    const limit = new AbortController()
    using _ = clock.after(resumeTimeout, () => limit.abort(beginAgain))
    try {
      return await puncher.resume({
        remote: cached.remote,
        secret: cached.presharedKey,
        controlling: link.initiator,
        signal: AbortSignal.any([signal, limit.signal]),
      })
    } catch (error) {
      if (signal.aborted) throw error
    }
    await delay(clock, backoff(tries, random), signal)
  }
}

/** Finds the peer on the signal networks and opens a path with it. */
async function punchPath(
  parts: SessionParts,
  options: { readonly headStart: number; readonly signal: AbortSignal },
): Promise<Path> {
  const { link, puncher, clock, enter } = parts
  const { headStart, signal } = options
  if (headStart > 0) await delay(clock, headStart, signal)
  for (let attempt = 1; ; attempt++) {
    await reach(parts, signal)
    enter({ kind: 'punching', attempt })
    const restart = new AbortController()
    using _limit = clock.after(punchTimeout, () => restart.abort(outOfTime(parts.peer)))
    using _link = link.subscribe((event) => {
      if (event.kind === 'punch-restarted' || !isReady(parts)) restart.abort(beginAgain)
    })
    try {
      return await puncher.open({
        exchange: link.punchExchange(),
        controlling: link.initiator,
        signal: AbortSignal.any([signal, restart.signal]),
      })
    } catch (error) {
      if (signal.aborted || restart.signal.reason !== beginAgain) throw error
    }
  }
}

/** Waits until the peer is on the other end of a secret channel and wants a tunnel. */
async function reach(parts: SessionParts, signal: AbortSignal): Promise<void> {
  const { link, peer, enter } = parts
  const report = (): void => {
    const { state } = link
    if (state.kind === 'securing') enter({ kind: 'securing' })
    else if (state.kind === 'offline') {
      enter({
        kind: 'reaching',
        reason: `looking for ${peer}`,
        hint: `check that ${peer} is switched on and has a network`,
      })
    } else if (state.kind === 'secure' && state.hello?.up === false) {
      enter({ kind: 'reaching', reason: `${peer} is there, but switched off`, hint: `run punchguard up on ${peer}` })
    } else {
      const conflict = guardConflict(parts)
      if (conflict !== undefined) enter({ kind: 'reaching', ...conflict })
    }
  }
  if (!isReady(parts)) report()
  using _ = link.subscribe((event) => {
    if (event.kind === 'state' && !isReady(parts)) report()
  })
  await link.until(() => isReady(parts) || link.state.kind === 'refused', signal)
  if (link.state.kind === 'refused')
    throw new PunchGuardError('PEER_REFUSED', link.state.reason, { hint: 'see status' })
}

/** Starts the tunnel on the path; returns when packets passed both ways. */
async function join(
  parts: SessionParts,
  options: { readonly path: Path; readonly signal: AbortSignal },
): Promise<void> {
  const { guardPeer, link, clock, enter } = parts
  const { path, signal } = options
  const known = guardConflict(parts)
  if (known !== undefined) throw noCommonGuard(known)
  enter({ kind: 'joining', path })
  // The end that finishes the key agreement last starts the handshake: then both hold the same pre-shared key. On a
  // resumed path both hold the one of last time, and only one end may be in need of a handshake.
  const initiate = !link.initiator || path.status().kind === 'cached'
  const use = (): void => {
    if (parts.presharedKey() !== undefined) guardPeer.use(path, { initiate })
  }
  await new Promise<void>((resolve, reject) => {
    const cleanup: Disposable[] = []
    const settle = (finish: () => void): void => {
      for (const subscription of cleanup) subscription[Symbol.dispose]()
      signal.removeEventListener('abort', onAbort)
      finish()
    }
    const onAbort = (): void => settle(() => reject(signal.reason))
    signal.addEventListener('abort', onAbort, { once: true })
    cleanup.push(
      guardPeer.subscribe((event) => {
        if (event.kind === 'established') settle(resolve)
      }),
      link.subscribe((event) => {
        const conflict = guardConflict(parts)
        if (conflict !== undefined) settle(() => reject(noCommonGuard(conflict)))
        else if (event.kind === 'agreed') use()
      }),
      clock.after(joinPatience, () => {
        if (parts.presharedKey() !== undefined) guardPeer.use(path, { initiate: true })
      }),
      clock.after(joinTimeout, () => settle(() => reject(noHandshake(parts.peer)))),
    )
    void path.lost.then((reason) => settle(() => reject(new Error(reason))))
    use()
  })
}

/** Stays as long as the path is good; returns why it is not any more. */
async function watch(
  parts: SessionParts,
  options: { readonly path: Path; readonly signal: AbortSignal },
): Promise<string> {
  const { link, guardPeer, peer, clock, enter } = parts
  const { path, signal } = options
  const resumed = path.status().kind === 'cached'
  const graceUntil = clock.now() + (resumed ? resumedGrace : 0)
  enter({ kind: 'connected', path })
  const remember = (): void => {
    const presharedKey = parts.presharedKey()
    const guardParameters = guardParametersOf(parts)
    if (presharedKey !== undefined) parts.remember({ remote: path.status().remote, presharedKey, guardParameters })
  }
  remember()
  using _resumes = acceptResumes(parts, path)
  using _moves = path.subscribe(() => {
    remember()
    enter({ kind: 'connected', path })
  })
  using _silence = guardPeer.subscribe((event) => {
    if (event.kind === 'unanswered') path.check()
  })
  using _network = parts.watchNetwork(() => {
    path.check()
    link.nudge()
  })
  return await new Promise<string>((resolve, reject) => {
    const onAbort = (): void => {
      subscription[Symbol.dispose]()
      reject(signal.reason)
    }
    const finish = (reason: string): void => {
      subscription[Symbol.dispose]()
      signal.removeEventListener('abort', onAbort)
      resolve(reason)
    }
    const onState = (): void => {
      const conflict = guardConflict(parts)
      if (conflict !== undefined) finish(conflict.reason)
      else if (isReady(parts)) remember()
    }
    const subscription = link.subscribe((event) => {
      if (event.kind === 'agreed') remember()
      else if (event.kind === 'punch-restarted' && clock.now() >= graceUntil) finish(`${peer} asks for a new path`)
      else if (link.state.kind === 'secure' && link.state.hello?.up === false) finish(`${peer} was switched off`)
      else if (link.state.kind === 'refused') finish(link.state.reason)
      else onState()
    })
    signal.addEventListener('abort', onAbort, { once: true })
    void path.lost.then(finish)
    if (link.punchWaiting && !resumed) finish(`${peer} asks for a new path`)
  })
}

/** Lets a restarted peer find us on this path, with the key of now and, as it may not know that yet, the one before. */
function acceptResumes(parts: SessionParts, path: Path): Disposable {
  const { link } = parts
  const accepted: Disposable[] = []
  const accept = (): void => {
    const secret = parts.presharedKey()
    if (secret === undefined) return
    accepted.push(path.acceptResume({ secret, controlling: link.initiator }))
    while (accepted.length > 2) accepted.shift()?.[Symbol.dispose]()
  }
  accept()
  const subscription = link.subscribe((event) => {
    if (event.kind === 'agreed') accept()
  })
  return {
    [Symbol.dispose]: () => {
      subscription[Symbol.dispose]()
      for (const one of accepted) one[Symbol.dispose]()
    },
  }
}

/** After a failure: waits, longer each time, but not when something has changed that may help. */
async function rest(
  parts: SessionParts,
  options: { readonly failures: number; readonly error: unknown; readonly signal: AbortSignal },
): Promise<void> {
  const { clock, random, link, enter, logger } = parts
  const { failures, error, signal } = options
  const pause = backoff(failures, random)
  const hint = error instanceof PunchGuardError ? { hint: error.hint } : {}
  logger.info('attempt failed', { reason: errorMessage(error), failures, pause })
  enter({ kind: 'waiting', until: clock.now() + pause, reason: errorMessage(error), ...hint })
  const change = new AbortController()
  const wake = (): void => change.abort(beginAgain)
  using _link = link.subscribe((event) => {
    if (event.kind !== 'state' || isReady(parts)) wake()
  })
  using _network = parts.watchNetwork(wake)
  await delay(clock, pause, AbortSignal.any([signal, change.signal])).catch(() => {})
}

/** The first to resolve or reject decides; a path that comes too late is closed. */
function firstPath(ways: readonly Promise<Path>[]): Promise<Path> {
  return new Promise((resolve, reject) => {
    let decided = false
    for (const way of ways) {
      way.then(
        (path) => {
          if (decided) void path[Symbol.asyncDispose]()
          else resolve(path)
          decided = true
        },
        (error) => {
          reject(error)
          decided = true
        },
      )
    }
  })
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** The puncher turns it into what it tried, and what may help. */
function outOfTime(peer: string): PunchGuardError {
  return new PunchGuardError('TIMEOUT', `No path to ${peer} was found in ${punchTimeout / 1000} s`, {
    hint: 'try another network on either side',
  })
}

function noCommonGuard({ reason, hint }: GuardConflict): PunchGuardError {
  return new PunchGuardError('GUARD_UNAVAILABLE', reason, { hint })
}

function noHandshake(peer: string): PunchGuardError {
  return new PunchGuardError('PUNCH_NO_PATH', `The path is open, but ${peer} did not answer the tunnel handshake`, {
    hint: `check the clock of both devices, and that the same PunchGuard version runs on ${peer}`,
  })
}
