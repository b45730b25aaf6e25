/**
 * TUN on Windows: the Wintun driver through wintun.dll. Packets pass through two rings in memory shared with the driver,
 * so that sending and receiving are no system calls; an event says that the receiving ring is not empty any more. The
 * adapter goes when we close it or end. Its MTU and addresses are set by netsh (windows-network.ts). Not run with the
 * real driver yet. (wintun.h 0.14)
 */

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { win32 } from 'node:path'
import { PunchGuardError } from '../../api/errors.ts'
import { type Clock, delay, systemClock } from '../../util/clock.ts'
import { errno, type NativeMemory } from '../ffi.ts'
import type { PollLoop } from '../poll-loop.ts'
import { type RunCommand, runCommand } from '../run-command.ts'
import { type WindowsCalls, type WintunCalls, windows, windowsCalls, wintunCalls } from '../windows-calls.ts'
import { windowsNetwork } from '../windows-network.ts'
import { PolledTun, type TunFile } from './polled-tun.ts'
import { defaultMtu, type Tun, type TunOptions } from './tun.ts'

export interface WintunParts {
  readonly system: WindowsCalls
  readonly wintun: WintunCalls
}

/** Bytes of each ring: a power of two, 128 KiB to 64 MiB. Some 2 700 full packets. */
const ringCapacity = 4 * 1024 * 1024
const largestPacket = 65_535
/** Our choice, ms. */
const seenPatience = 10_000
const seenInterval = 100
/** IF_MAX_STRING_SIZE and the final zero. */
const aliasLength = 257

/**
 * Makes a new adapter and removes it when disposed. It has no address.
 * @throws PunchGuardError GUARD_UNAVAILABLE (no wintun.dll, name taken), PERMISSION_DENIED
 */
export async function openWintun(options: TunOptions): Promise<Tun> {
  const path = findWintun({ environment: process.env, folders: programFolders(), exists: existsSync })
  const parts = { system: await windowsCalls(), wintun: await loadWintun(path) }
  const session = openWintunSession(options.name, parts)
  try {
    await untilSeen(options.name, { run: runCommand, clock: systemClock })
  } catch (error) {
    await session.close()
    throw error
  }
  const mtu = options.mtu ?? defaultMtu
  return new PolledTun({ file: session, poll: session, name: options.name, mtu, clock: systemClock })
}

/** TCP/IP takes a moment to see a new adapter; before that it has no addresses. @throws PunchGuardError GUARD_UNAVAILABLE */
export async function untilSeen(
  name: string,
  { run, clock }: { readonly run: RunCommand; readonly clock: Clock },
): Promise<void> {
  const deadline = clock.now() + seenPatience
  while ((await windowsNetwork.findLink(name, run)) === undefined) {
    if (clock.now() > deadline) {
      throw new PunchGuardError('GUARD_UNAVAILABLE', `Windows gave the interface ${name} no TCP/IP`, {
        hint: 'look at it with: netsh interface ipv4 show interfaces',
      })
    }
    await delay(clock, seenInterval)
  }
}

/** The program's own folders: the executable's, and the script's. */
function programFolders(): readonly string[] {
  const script = process.argv[1]
  return [win32.dirname(process.execPath), ...(script === undefined ? [] : [win32.dirname(script)])]
}

/**
 * The absolute path of wintun.dll: beside the program, else in a folder of PATH. The current folder is never looked at.
 * @throws PunchGuardError GUARD_UNAVAILABLE
 */
export function findWintun(options: {
  readonly environment: NodeJS.ProcessEnv
  readonly folders: readonly string[]
  readonly exists: (path: string) => boolean
}): string {
  const { environment, folders, exists } = options
  const searched = (environment['PATH'] ?? environment['Path'] ?? '').split(';')
  const paths = [...folders, ...searched].filter(isDriveFolder).map((folder) => win32.join(folder, 'wintun.dll'))
  const found = paths.find(exists)
  if (found !== undefined) return found
  throw new PunchGuardError('GUARD_UNAVAILABLE', 'there is no wintun.dll beside the program or in PATH', {
    hint: `get it from https://www.wintun.net, and put the one for ${process.arch} beside the program`,
  })
}

/** Neither relative nor on another machine. */
function isDriveFolder(folder: string): boolean {
  return /^[A-Za-z]:[\\/]/.test(folder)
}

async function loadWintun(path: string): Promise<WintunCalls> {
  try {
    return await wintunCalls(path)
  } catch (cause) {
    if (cause instanceof PunchGuardError) throw cause
    throw new PunchGuardError('GUARD_UNAVAILABLE', `${path} could not be loaded`, {
      hint: `it must be Wintun 0.14 or newer for ${process.arch}, from https://www.wintun.net`,
      cause,
    })
  }
}

/** @throws PunchGuardError GUARD_UNAVAILABLE, PERMISSION_DENIED */
export function openWintunSession(name: string, { system, wintun }: WintunParts): WintunSession {
  const guid = system.allocate(16)
  // The same for the same name: Windows remembers per GUID which kind of network (public, private) it is.
  guid.bytes.set(createHash('sha256').update(`punchguard interface ${name}`).digest().subarray(0, 16))
  const adapter = wintun.WintunCreateAdapter(name, 'PunchGuard', guid.address)
  if (adapter === 0) throw notMade(name, system.GetLastError())
  try {
    if (aliasOf(adapter, { system, wintun }) !== name) {
      throw new PunchGuardError('GUARD_UNAVAILABLE', `an interface named ${name} exists already`, {
        hint: 'choose another name for ours in config.toml: interface = "pg1"',
      })
    }
    const session = wintun.WintunStartSession(adapter, ringCapacity)
    if (session === 0) throw notMade(name, system.GetLastError())
    return new WintunSession({ system, wintun, adapter, session })
  } catch (error) {
    wintun.WintunCloseAdapter(adapter)
    throw error
  }
}

/** Windows gives another name than the one asked for when that is taken. */
function aliasOf(adapter: number, { system, wintun }: WintunParts): string | undefined {
  const luid = system.allocate(8)
  wintun.WintunGetAdapterLUID(adapter, luid.address)
  const alias = system.allocate(aliasLength * 2)
  if (system.ConvertInterfaceLuidToAlias(luid.address, alias.address, aliasLength) !== 0) return undefined
  return new TextDecoder('utf-16le').decode(alias.bytes).split('\0')[0]
}

function notMade(name: string, code: number): PunchGuardError {
  const message = `the interface ${name} was not made (Windows error ${code})`
  if (code === windows.ERROR_ACCESS_DENIED)
    return new PunchGuardError('PERMISSION_DENIED', message, { hint: 'run this as administrator' })
  return new PunchGuardError('GUARD_UNAVAILABLE', message, {
    hint: 'look into the event log of Windows for what the driver wintun said',
  })
}

/** The file of a `PolledTun`, and the loop that says when to read it. */
export class WintunSession implements TunFile, PollLoop {
  /** The event of the receiving ring. */
  readonly fd: number
  readonly #system: WindowsCalls
  readonly #wintun: WintunCalls
  readonly #adapter: number
  readonly #session: number
  readonly #stop: number
  /** Two handles, stop and read; after them the length of a received packet. */
  readonly #scratch: NativeMemory
  readonly #incoming: NativeMemory
  readonly #outgoing: NativeMemory
  #onReady: (() => void) | undefined
  #loop: 'idle' | 'scheduled' | 'waiting' = 'idle'
  /** The event is set for what comes into an empty ring only: what is left in it must be asked for. */
  #mayHaveMore = true
  #isBroken = false
  #onEnded: (() => void) | undefined

  constructor(options: WintunParts & { readonly adapter: number; readonly session: number }) {
    const { system, wintun, adapter, session } = options
    this.#system = system
    this.#wintun = wintun
    this.#adapter = adapter
    this.#session = session
    this.#stop = system.CreateEvent()
    this.fd = wintun.WintunGetReadWaitEvent(session)
    this.#scratch = system.allocate(24)
    this.#scratch.view.setBigUint64(0, BigInt(this.#stop), true)
    this.#scratch.view.setBigUint64(8, BigInt(this.fd), true)
    this.#incoming = system.allocate(largestPacket)
    this.#outgoing = system.allocate(largestPacket)
    process.on('exit', this.#onExit)
  }

  read(): Uint8Array | number {
    if (this.#isBroken) return errno.ENODEV
    const size = this.#scratch.address + 16
    const packet = this.#wintun.WintunReceivePacket(this.#session, size)
    this.#mayHaveMore = packet !== 0
    if (packet === 0) return this.#system.GetLastError() === windows.ERROR_NO_MORE_ITEMS ? errno.EAGAIN : errno.ENODEV
    const length = Math.min(largestPacket, this.#scratch.view.getUint32(16, true))
    this.#system.RtlMoveMemory(this.#incoming.address, packet, length)
    this.#wintun.WintunReleaseReceivePacket(this.#session, packet)
    return this.#incoming.bytes.subarray(0, length)
  }

  write(packet: Uint8Array): number {
    if (packet.length === 0 || packet.length > largestPacket) return errno.EINVAL
    const place = this.#wintun.WintunAllocateSendPacket(this.#session, packet.length)
    if (place === 0) return this.#system.GetLastError() === windows.ERROR_BUFFER_OVERFLOW ? errno.ENOBUFS : errno.EIO
    this.#outgoing.bytes.set(packet)
    this.#system.RtlMoveMemory(place, this.#outgoing.address, packet.length)
    this.#wintun.WintunSendPacket(this.#session, place)
    return 0
  }

  /** Resolves when the adapter is gone: the pool must have let go of its event first. */
  close(): Promise<void> {
    this.#onReady = undefined
    return new Promise((resolve) => {
      this.#onEnded = resolve
      if (this.#loop === 'waiting') this.#system.SetEvent(this.#stop)
      else this.#end()
    })
  }

  /** One receiver at a time, for the event in `fd`. */
  add(_event: number, onReady: () => void): Disposable {
    this.#onReady = onReady
    if (this.#loop === 'idle') this.#schedule()
    return {
      [Symbol.dispose]: () => {
        if (this.#onReady !== onReady) return
        this.#onReady = undefined
        if (this.#loop === 'waiting') this.#system.SetEvent(this.#stop)
      },
    }
  }

  #schedule(): void {
    this.#loop = 'scheduled'
    setImmediate(() => this.#turn())
  }

  #turn(): void {
    this.#loop = 'idle'
    this.#onReady?.()
    if (this.#onReady === undefined) return
    if (this.#mayHaveMore) this.#schedule()
    else this.#wait()
  }

  #wait(): void {
    this.#loop = 'waiting'
    this.#system.waitOnPool(this.#scratch.address, 2, (result) => {
      this.#loop = 'idle'
      if (this.#onEnded !== undefined) {
        this.#end()
        return
      }
      this.#isBroken ||= result === windows.WAIT_FAILED
      this.#turn()
    })
  }

  #end(): void {
    process.off('exit', this.#onExit)
    this.#wintun.WintunEndSession(this.#session)
    this.#wintun.WintunCloseAdapter(this.#adapter)
    this.#system.CloseHandle(this.#stop)
    this.#onEnded?.()
  }

  /** A process that ends waits for the thread pool: without this it would hang in our wait for ever. */
  readonly #onExit = (): void => {
    if (this.#loop === 'waiting') this.#system.SetEvent(this.#stop)
  }
}
