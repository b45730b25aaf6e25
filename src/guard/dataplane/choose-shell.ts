/** Which data plane an embedded guard gets: the workers where both descriptors can be lent, else the plain one. */

import { keepHeapSmall, systemCalls } from '../../net/ffi.ts'
import type { Clock } from '../../util/clock.ts'
import type { Logger } from '../../util/logger.ts'
import type { CryptoBackend } from './aead/aead.ts'
import type { DataPlane } from './data-plane.ts'
import { type GuardUnderlay, type PacketDevice, PlainDataPlane } from './plain.ts'
import { type LendableDatagrams, type LendableTun, WorkerDataPlane } from './worker-plane-shell.ts'

export interface DataPlaneParts {
  readonly clock: Clock
  readonly underlay: GuardUnderlay
  /** The one that `underlay` routes. */
  readonly socket: object
  readonly tun: PacketDevice
  readonly logger?: Logger
  readonly backends?: readonly CryptoBackend[]
}

export async function openDataPlane(parts: DataPlaneParts): Promise<DataPlane> {
  const { socket, tun } = parts
  if (process.platform !== 'linux' || !isLendableSocket(socket) || !isLendableTun(tun)) return new PlainDataPlane(parts)
  await keepHeapSmall()
  return new WorkerDataPlane({ ...parts, system: await systemCalls(), socket, tun })
}

function isLendableSocket(socket: object): socket is LendableDatagrams {
  return 'lend' in socket && 'deliver' in socket && 'giveBack' in socket
}

function isLendableTun(tun: PacketDevice): tun is LendableTun {
  return 'lend' in tun && 'giveBack' in tun && 'name' in tun
}
