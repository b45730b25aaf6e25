/**
 * The Windows functions that Node.js has no words for, and those of wintun.dll, through koffi. Handles and addresses are
 * plain numbers, names and argument order Windows' own; 0 means failure and `GetLastError()` says why (koffi keeps its
 * value for us between two calls). Written after wintun.h 0.14 and the Windows headers.
 */

import { PunchGuardError } from '../api/errors.ts'
import { allocateNative, type Koffi, loadKoffi, type NativeMemory } from './ffi.ts'

export interface WindowsCalls {
  /** Unnamed, unset, and unset again by the wait that it ends. */
  CreateEvent(): number
  SetEvent(handle: number): number
  CloseHandle(handle: number): number
  /** WaitForMultipleObjects for any of `count` handles, without limit, on a thread of the pool. Never rejects. */
  waitOnPool(handles: number, count: number, done: (result: number) => void): void
  GetLastError(): number
  RtlMoveMemory(to: number, from: number, length: number): void
  /** The name of the interface with the 64-bit id at `luid`, zero-terminated UTF-16, written to `name`; 0 is success. */
  ConvertInterfaceLuidToAlias(luid: number, name: number, characters: number): number
  allocate(length: number): NativeMemory
}

export interface WintunCalls {
  WintunCreateAdapter(name: string, type: string, guid: number): number
  WintunCloseAdapter(adapter: number): void
  WintunGetAdapterLUID(adapter: number, luid: number): void
  WintunStartSession(adapter: number, capacity: number): number
  WintunEndSession(session: number): void
  WintunGetReadWaitEvent(session: number): number
  /** The address of a packet, which stays ours until it is released, and its length at `size`. */
  WintunReceivePacket(session: number, size: number): number
  WintunReleaseReceivePacket(session: number, packet: number): void
  WintunAllocateSendPacket(session: number, size: number): number
  WintunSendPacket(session: number, packet: number): void
}

/** winerror.h, winbase.h */
export const windows = {
  ERROR_ACCESS_DENIED: 5,
  ERROR_HANDLE_EOF: 38,
  ERROR_BUFFER_OVERFLOW: 111,
  ERROR_NO_MORE_ITEMS: 259,
  WAIT_FAILED: 0xffffffff,
  INFINITE: 0xffffffff,
} as const

/** @throws PunchGuardError GUARD_UNAVAILABLE on another system, or when koffi has no build for this machine */
export async function windowsCalls(): Promise<WindowsCalls> {
  requireWindows()
  return declareWindowsCalls(await loadKoffi())
}

/** `path` is absolute: Windows must not search for it. @throws PunchGuardError GUARD_UNAVAILABLE; koffi's own error */
export async function wintunCalls(path: string): Promise<WintunCalls> {
  requireWindows()
  return declareWintunCalls(await loadKoffi(), path)
}

function requireWindows(): void {
  if (process.platform === 'win32') return
  throw new PunchGuardError('GUARD_UNAVAILABLE', `these functions are those of Windows; this is ${process.platform}`, {
    hint: 'run this device on Windows or Linux',
  })
}

const pointer = 'intptr'

function declareWindowsCalls(koffi: Koffi): WindowsCalls {
  const kernel = koffi.load('kernel32.dll')
  const addresses = koffi.load('iphlpapi.dll')
  const createEvent = kernel.func('CreateEventW', pointer, [pointer, 'int', 'int', pointer])
  const wait = kernel.func('WaitForMultipleObjects', 'uint32', ['uint32', pointer, 'int', 'uint32'])
  return {
    CreateEvent: () => createEvent(0, 0, 0, 0),
    SetEvent: kernel.func('SetEvent', 'int', [pointer]),
    CloseHandle: kernel.func('CloseHandle', 'int', [pointer]),
    waitOnPool: (handles, count, done) =>
      wait.async(count, handles, 0, windows.INFINITE, (error: unknown, result: number) =>
        done(error ? windows.WAIT_FAILED : result),
      ),
    GetLastError: kernel.func('GetLastError', 'uint32', []),
    RtlMoveMemory: kernel.func('RtlMoveMemory', 'void', [pointer, pointer, 'size_t']),
    ConvertInterfaceLuidToAlias: addresses.func('ConvertInterfaceLuidToAlias', 'uint32', [pointer, pointer, 'size_t']),
    allocate: (length) => allocateNative(koffi, length),
  }
}

function declareWintunCalls(koffi: Koffi, path: string): WintunCalls {
  const wintun = koffi.load(path)
  return {
    WintunCreateAdapter: wintun.func('WintunCreateAdapter', pointer, ['str16', 'str16', pointer]),
    WintunCloseAdapter: wintun.func('WintunCloseAdapter', 'void', [pointer]),
    WintunGetAdapterLUID: wintun.func('WintunGetAdapterLUID', 'void', [pointer, pointer]),
    WintunStartSession: wintun.func('WintunStartSession', pointer, [pointer, 'uint32']),
    WintunEndSession: wintun.func('WintunEndSession', 'void', [pointer]),
    WintunGetReadWaitEvent: wintun.func('WintunGetReadWaitEvent', pointer, [pointer]),
    WintunReceivePacket: wintun.func('WintunReceivePacket', pointer, [pointer, pointer]),
    WintunReleaseReceivePacket: wintun.func('WintunReleaseReceivePacket', 'void', [pointer, pointer]),
    WintunAllocateSendPacket: wintun.func('WintunAllocateSendPacket', pointer, [pointer, 'uint32']),
    WintunSendPacket: wintun.func('WintunSendPacket', 'void', [pointer, pointer]),
  }
}
