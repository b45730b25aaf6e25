/**
 * PunchGuard as a library. `openDevice` is what most programs want; the four roles are here for those that bring a
 * signal network, a secret channel, a puncher or a guard of their own. What is exported here stays as it is.
 */

export type {
  Device,
  DeviceEvent,
  DeviceStatus,
  InviteText,
  PairingStep,
  PeerChange,
  PeerStateKind,
  PeerStatus,
} from './api/device.ts'
export type { Endpoint } from './api/endpoint.ts'
export { type ErrorCode, PunchGuardError } from './api/errors.ts'
export { type OtrFingerprint, SecretKey, type TunnelPublicKey } from './api/keys.ts'
export type { DatagramSocket, HostNetwork } from './api/network.ts'
export type {
  Guard,
  GuardPeer,
  KeyAgreement,
  Path,
  PathStatus,
  Puncher,
  SecretChannel,
  SignalChannel,
  SignalNetwork,
  SignalNetworkStatus,
} from './api/roles.ts'
export type { StateStore } from './api/state-store.ts'
export { type OpenDeviceOptions, openDevice } from './device/open-device.ts'
export type { DeviceParts, Tunnel } from './device/parts.ts'
export { PunchGuard } from './device/punchguard.ts'
export type { LogFields, Logger } from './util/logger.ts'
