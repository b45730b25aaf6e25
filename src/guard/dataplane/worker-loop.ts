/**
 * What a worker of the data plane does in turn: commands, its socket, the TUN when reading that is its duty, and then
 * poll(2) for both and for the eventfd by which the main thread says that there are commands. It closes the descriptors it
 * was lent. The thread that turns it is in worker-shell.ts; before there is one, warm-up.ts turns others like it.
 */

import { c } from '../../net/ffi.ts'
import { DatagramRing } from './datagram-ring.ts'
import { Receiver } from './receive.ts'
import { Transmitter } from './transmit.ts'
import { TunDuty } from './tun-duty.ts'
import { Turnstile } from './turnstile.ts'
import { createContext, pollEntry, type Turn, type WorkerContext } from './worker-context.ts'
import { control, type PeerCommand, type WorkerCommand, type WorkerSetup } from './worker-messages.ts'

// The last page before the receiver's buffers.
const pollAt = 0x3f000
const scratchAt = 0x3f100
/** What is polled, in this order. */
const entries = { wake: 0, socket: 1, tun: 2 } as const
/** The pause while the interface is down, ms. */
const downPause = 50
/** How often the MTU is looked at while there is traffic, ms. */
const mtuInterval = 1_000
/** Over what time the load of this thread is taken, ms. */
const loadInterval = 50
const getMtu = 0x8921

/** What a loop needs to know of its worker. */
export type LoopSetup = Pick<
  WorkerSetup,
  'role' | 'interfaceName' | 'wakes' | 'turnstile' | 'duty' | 'control' | 'ring'
>

export class WorkerLoop {
  // Not in one object: objects that came as a message have another shape for V8 than those of a warm-up.
  readonly #role: LoopSetup['role']
  readonly #interfaceName: string
  readonly #ownWake: number
  readonly #otherWake: number
  readonly #turnstile: Turnstile
  readonly #ring: DatagramRing
  readonly #control: Int32Array
  readonly #context: WorkerContext
  /** The next command that was posted. */
  readonly #nextCommand: () => WorkerCommand | undefined
  readonly #duty: TunDuty
  /** What came before the socket did. */
  readonly #early: PeerCommand[] = []
  #receiver: Receiver | undefined
  #transmitter: Transmitter | undefined
  #socket = -1
  #tun = -1
  #taken = 0
  #isStopped = false
  #mtuAt = 0
  #loadAt = 0
  #threadTime = 0
  #isGone = false
  /** Whether it is worth asking; the kernel may have answered what came from the socket. */
  #socketReady = true
  #tunReady = true

  constructor(setup: LoopSetup, context: WorkerContext, nextCommand: () => WorkerCommand | undefined) {
    const { role, wakes } = setup
    this.#role = role
    this.#interfaceName = setup.interfaceName
    this.#ownWake = wakes[role]
    this.#otherWake = wakes[role === 'receive' ? 'transmit' : 'receive']
    this.#turnstile = new Turnstile(setup.turnstile, setup.control)
    this.#ring = new DatagramRing(setup.ring)
    this.#control = setup.control
    this.#context = context
    this.#nextCommand = nextCommand
    this.#duty = new TunDuty(setup.duty, role)
    const { view } = context.memory
    for (const entry of Object.values(entries))
      view.setInt16(pollAt + entry * pollEntry.size + pollEntry.events, c.POLLIN, true)
    view.setInt32(pollAt, this.#ownWake, true)
  }

  /** So many turns; `false` when it was stopped meanwhile, which the main thread can do at any time. */
  run(turns: number): boolean {
    for (let turn = 0; turn < turns; turn++) if (!this.#turn()) return false
    return true
  }

  /** Afterwards the main thread may read both descriptors again. */
  end(): void {
    this.#receiver?.clear()
    this.#transmitter?.clear()
    if (this.#socket !== -1) this.#context.system.close(this.#socket)
    if (this.#tun !== -1) this.#context.system.close(this.#tun)
    Atomics.store(this.#control, control.stopped, 1)
    Atomics.notify(this.#control, control.stopped)
  }

  /** Does what there is to do, and waits for more. */
  #turn(): boolean {
    this.#takeCommands()
    if (this.#isStopped) return false
    // One look at the clock and one at the duty serve a turn.
    const now = this.#context.now()
    const isOurs = this.#duty.isOurs && !this.#isGone
    const received = this.#socketReady ? (this.#receiver?.turn(now) ?? 'idle') : 'idle'
    const sent = isOurs && this.#tunReady ? (this.#transmitter?.turn(now) ?? 'idle') : 'idle'
    if (sent === 'gone') {
      this.#isGone = true
      this.#context.post({ kind: 'lost', reason: 'the interface is gone' })
    }
    // After what a packet waited for.
    this.#lookAround(now)
    this.#wait(received, sent, isOurs && sent !== 'gone')
    return true
  }

  #takeCommands(): void {
    const posted = Atomics.load(this.#control, control.posted)
    if (posted === this.#taken) return
    if (Atomics.load(this.#control, control.stop) !== 0) this.#isStopped = true
    for (; this.#taken !== posted; this.#taken = (this.#taken + 1) | 0) {
      const command = this.#nextCommand()
      if (command === undefined) break
      this.#obey(command)
    }
  }

  #obey(command: WorkerCommand): void {
    switch (command.kind) {
      case 'start':
        this.#start(command)
        break
      case 'fail':
        throw new Error('asked to fail')
      case 'give-tun':
        if (this.#duty.isOurs) this.#duty.give()
        this.#wakeOther()
        break
      default:
        if (this.#transmitter === undefined) this.#early.push(command)
        else {
          this.#receiver?.apply(command)
          this.#transmitter.apply(command)
        }
    }
  }

  #start({ socket, tun, mayMergeUdp }: Extract<WorkerCommand, { kind: 'start' }>): void {
    this.#socket = socket
    this.#tun = tun
    const receives = this.#role === 'receive'
    const context = createContext({ ...this.#context, tun })
    if (receives) this.#receiver = new Receiver(context, { socket, ring: this.#ring, mayMergeUdp })
    this.#transmitter = new Transmitter(context, { socket, turnstile: this.#turnstile, leads: receives })
    const offloads = [...(this.#receiver?.offloads ?? []), ...this.#transmitter.offloads]
    context.post({ kind: 'started', offloads })
    for (const command of this.#early.splice(0)) this.#obey(command)
  }

  /** Until there is something to do. */
  #wait(received: Turn, sent: Turn, readsTun: boolean): void {
    if (received === 'busy' || sent === 'busy') {
      this.#socketReady = true
      this.#tunReady = true
      return
    }
    const { view, base } = this.#context.memory
    const isPaused = received === 'down' || sent === 'down'
    const socket = this.#receiver === undefined || received === 'down' ? -1 : this.#socket
    view.setInt32(pollAt + entries.socket * pollEntry.size, socket, true)
    view.setInt32(pollAt + entries.tun * pollEntry.size, readsTun && sent !== 'down' ? this.#tun : -1, true)
    this.#context.system.poll(base + pollAt, 3, isPaused ? downPause : this.#duty.isWatched ? loadInterval : -1)
    if (this.#happened(entries.wake)) this.#context.system.read(this.#ownWake, base + scratchAt, 8)
    this.#socketReady = this.#happened(entries.socket) || isPaused
    this.#tunReady = this.#happened(entries.tun) || this.#socketReady
  }

  /** `poll` leaves what happened, and nothing when its time is over. */
  #happened(entry: number): boolean {
    return this.#context.memory.view.getInt16(pollAt + entry * pollEntry.size + pollEntry.happened, true) !== 0
  }

  /** What changes slowly. */
  #lookAround(now: number): void {
    if (this.#transmitter === undefined) return
    if (now - this.#loadAt >= loadInterval) this.#weigh(now)
    if (now - this.#mtuAt >= mtuInterval) this.#lookAtMtu(now)
  }

  #weigh(now: number): void {
    const { view, base } = this.#context.memory
    if (this.#context.system.clock_gettime(c.CLOCK_THREAD_CPUTIME_ID, base + scratchAt) !== 0) return
    const time = view.getUint32(scratchAt, true) * 1000 + view.getUint32(scratchAt + 8, true) / 1e6
    const load = (time - this.#threadTime) / (now - this.#loadAt)
    this.#threadTime = time
    this.#loadAt = now
    if (this.#duty.weigh(load)) this.#wakeOther()
  }

  #wakeOther(): void {
    const { view, base } = this.#context.memory
    view.setBigUint64(scratchAt, 1n, true)
    this.#context.system.write(this.#otherWake, base + scratchAt, 8)
  }

  /** It may be changed from outside; padding must not go past it. */
  #lookAtMtu(now: number): void {
    this.#mtuAt = now
    const { bytes, view, base } = this.#context.memory
    bytes.fill(0, scratchAt, scratchAt + 40)
    bytes.set(new TextEncoder().encode(this.#interfaceName), scratchAt)
    if (this.#context.system.ioctl(this.#socket, getMtu, base + scratchAt) === 0)
      this.#transmitter?.setMtu(view.getInt32(scratchAt + 16, true))
  }
}
