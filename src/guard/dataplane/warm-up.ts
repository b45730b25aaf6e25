/**
 * What a worker does before it is ready: thousands of turns of its own loop, with all kinds of packets, between played
 * system calls (played-system.ts). V8 interprets a function that it has not seen often, ten times slower than what it
 * compiles it to later, and compiles for what it has seen: without this the first seconds of a tunnel would pay for that,
 * and again for every branch that only real traffic takes.
 */

import type { PeerId } from './data-plane.ts'
import { DatagramRing } from './datagram-ring.ts'
import { indexOf, PlayedSystem, playedPeers, prefixesOf } from './played-system.ts'
import { createDropRow, createPeerRow, dropsOfPeer, received, sent } from './shared-activity.ts'
import { TunDuty } from './tun-duty.ts'
import { Turnstile } from './turnstile.ts'
import { callsAround, createContext, type WorkerContext } from './worker-context.ts'
import { WorkerLoop } from './worker-loop.ts'
import { control, type Ipv4Endpoint, type WorkerCommand, type WorkerSetup } from './worker-messages.ts'

export interface WarmUpOptions {
  readonly turns: number
  /** But not longer than this, ms: on a busy machine the first packets are slow anyway. */
  readonly time: number
}

/** Turns of a loop from one command to the next. */
const commandEvery = 40

/** What came out of it. */
export interface WarmUpResult {
  readonly turns: number
  readonly messagesSent: number
  readonly packetsWritten: number
  /** Besides those that belong to nobody. */
  readonly dropped: number
}

/** No real system call is made. What it leaves in the packet memory, which holds no key yet, nobody looks at. */
export function warmUp(role: WorkerSetup['role'], context: WorkerContext, options: WarmUpOptions): WarmUpResult {
  const played = new PlayedSystem(context)
  // Code for one kind of function alone is thrown away at the first other: two loops, with two kinds of everything.
  const { calls } = played
  const now = (): number => played.time
  const loops = [
    playedLoop(role, { ...context, system: calls, now, post: () => {} }, (take) => take),
    playedLoop(
      role,
      { ...context, system: callsAround(calls), now: () => now(), post: (event) => void event },
      (take) => () => take(),
    ),
  ]
  const end = context.now() + options.time
  let turns = 0
  for (; turns < options.turns && context.now() < end; turns++) {
    // Each meets every kind of packet.
    const loop = loops[(turns >> 4) & 1]
    loop?.pretend(played.time)
    played.next()
    loop?.turn()
  }
  for (const loop of loops) loop.end()
  const { messagesSent, packetsWritten, unowned } = played
  const dropped = loops.reduce((sum, loop) => sum + loop.dropped(), 0) - unowned
  return { turns, messagesSent, packetsWritten, dropped }
}

interface PlayedLoop {
  /** As if the main thread had looked, and packets had come the other way. */
  pretend(now: number): void
  turn(): void
  end(): void
  dropped(): number
}

type NextCommand = () => WorkerCommand | undefined

function playedLoop(
  role: WorkerSetup['role'],
  parts: WorkerContext,
  kindOf: (take: NextCommand) => NextCommand,
): PlayedLoop {
  const own = new Int32Array(new SharedArrayBuffer(parts.control.byteLength))
  const duty = TunDuty.memory()
  if (role === 'transmit') new TunDuty(duty, 'receive').give()
  const rows = playedPeers.map(() => createPeerRow())
  const commands = commandsFor(rows, parts.now())
  const setup = {
    role,
    interfaceName: 'played',
    wakes: { receive: -1, transmit: -1 },
    turnstile: Turnstile.memory(),
    duty,
    control: own,
    ring: DatagramRing.memory(),
  }
  const drops = createDropRow()
  const context = createContext({ ...parts, tun: -1, control: own, drops })
  const take: NextCommand = () => structuredClone(commands.shift())
  const loop = new WorkerLoop(setup, context, kindOf(take))
  Atomics.store(own, control.posted, commands.length)
  const ring = new DatagramRing(setup.ring)
  let turns = 0
  return {
    pretend: (now) => {
      if (turns++ % commandEvery === 0) {
        commands.push(...playedPeers.map(({ peer, endpoint }) => moved(peer, endpoint)))
        Atomics.add(own, control.posted, playedPeers.length)
      }
      Atomics.store(own, control.reported, 0)
      for (let passed = ring.shift(); passed !== undefined; ) passed = ring.shift()
      // Not always, so that both branches are met.
      if (now % 3 >= 1) return
      for (const row of rows) for (const field of [sent.lastAt, sent.firstDataAt, received.lastAt]) row[field] = now
    },
    turn: () => void loop.run(1),
    end: () => loop.end(),
    dropped: () =>
      [drops, ...rows.flatMap((row) => [dropsOfPeer(row, 'sent'), dropsOfPeer(row, 'received')])]
        .flatMap((row) => [...row])
        .reduce((sum, count) => sum + count, 0),
  }
}

function moved(peer: PeerId, endpoint: Ipv4Endpoint): WorkerCommand {
  return { kind: 'set-endpoint', peer, endpoint, revision: 0 }
}

function commandsFor(rows: readonly Float64Array[], created: number): WorkerCommand[] {
  const commands: WorkerCommand[] = [{ kind: 'start', socket: -1, tun: -1, mayMergeUdp: true }]
  for (const [at, { peer, endpoint }] of playedPeers.entries()) {
    const localIndex = indexOf(peer)
    const row = rows[at] ?? createPeerRow()
    commands.push(
      { kind: 'add-peer', peer, allowedIps: prefixesOf(peer), row },
      moved(peer, endpoint),
      {
        kind: 'install-keypair',
        peer,
        localIndex,
        remoteIndex: localIndex,
        sendKey: new Uint8Array(32),
        receiveKey: new Uint8Array(32),
        counter: new Float64Array(new SharedArrayBuffer(8)),
        receivedBelow: 0,
        created,
        rekeyAfterMessages: Number.MAX_SAFE_INTEGER,
        rejectAfterMessages: Number.MAX_SAFE_INTEGER,
      },
      { kind: 'use-keypair', peer, localIndex, confirm: false },
    )
  }
  return commands
}
