/** The guard that wireguard-go carries, told what to do over its UAPI socket. */

import { PunchGuardError } from '../../api/errors.ts'
import type { SecretKey } from '../../api/keys.ts'
import type { GuardStatus } from '../../api/roles.ts'
import type { Clock } from '../../util/clock.ts'
import type { Logger } from '../../util/logger.ts'
import type { PeerTable, PolledDevice, SetRequest } from '../polled-device.ts'
import { PolledGuard } from '../polled-guard.ts'
import { decodeGetAnswer, decodeSetAnswer, encodeSet, getRequest } from './uapi.ts'

/** A running wireguard-go (program-shell.ts). */
export interface UapiProgram {
  readonly interfaceName: string
  /** `wireguard-go 0.0.20220316` */
  readonly implementation: string
  /** The answer to one request; requests are put in the order of the calls. Rejects when there is none. */
  ask(request: string): Promise<string>
}

export interface WireguardGoGuardOptions {
  readonly program: UapiProgram
  /** The caller's. */
  readonly privateKey: SecretKey
  /** UDP port that the program is to bind; as soon as the interface goes up it does. */
  readonly port: number
  readonly clock: Clock
  readonly logger?: Logger
}

/** @throws PunchGuardError ADDRESS_IN_USE when somebody else has the port, GUARD_UNAVAILABLE when the program refuses */
export async function openWireguardGoGuard(options: WireguardGoGuardOptions): Promise<PolledGuard> {
  const { program, privateKey, port: listenPort } = options
  const device = new UapiDevice(program)
  const error = await device.trySet({ privateKey, listenPort })
  if (error === portTaken) throw takenPort(listenPort)
  if (error !== 0) throw refusedRequest(error)
  return new PolledGuard({ ...options, kind: 'wireguard-go', device })
}

class UapiDevice implements PolledDevice {
  readonly #program: UapiProgram

  constructor(program: UapiProgram) {
    this.#program = program
  }

  get interfaceName(): string {
    return this.#program.interfaceName
  }

  get status(): GuardStatus {
    return { dataPlane: 'process', implementation: this.#program.implementation, offloads: [] }
  }

  /** The error number, 0 for success; `undefined` for an answer that cannot be read. */
  async trySet(request: SetRequest): Promise<number | undefined> {
    return decodeSetAnswer(await this.#program.ask(encodeSet(request)))
  }

  async set(request: SetRequest): Promise<void> {
    const error = await this.trySet(request)
    if (error !== 0) throw refusedRequest(error)
  }

  async get(): Promise<PeerTable> {
    const table = decodeGetAnswer(await this.#program.ask(getRequest))
    if (table === undefined) throw new Error('wireguard-go gave an answer that cannot be read')
    return table
  }
}

/** As the program gives it: the system's EADDRINUSE (Linux), negated. */
const portTaken = -98

function takenPort(port: number): PunchGuardError {
  return new PunchGuardError('ADDRESS_IN_USE', `UDP port ${port} is used by another program`, {
    hint: 'end that program, or set another port in config.toml: port = 0',
  })
}

function refusedRequest(error: number | undefined): PunchGuardError {
  const what = error === undefined ? 'an answer that cannot be read' : `error ${error}`
  return new PunchGuardError('GUARD_UNAVAILABLE', `wireguard-go refused its settings: ${what}`, {
    hint: 'install the package wireguard-go anew, or set guard = "embedded" in config.toml',
  })
}
