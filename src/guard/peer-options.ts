/** What every guard demands of the peers it is given. */

import { PunchGuardError } from '../api/errors.ts'
import { shortKey, type TunnelPublicKey } from '../api/keys.ts'
import { type Prefix, parsePrefix } from './wireguard/allowed-ips.ts'

/** @throws PunchGuardError CONFIG_INVALID */
export function parseAllowedIp(text: string): Prefix {
  const prefix = parsePrefix(text)
  if (prefix !== undefined) return prefix
  throw new PunchGuardError('CONFIG_INVALID', `${text} is no IP prefix`, {
    hint: 'write it as ADDRESS/LENGTH, for example 10.64.1.2/32',
  })
}

/** For a key that is our own, or another peer's already. */
export function refusedPeer(publicKey: TunnelPublicKey): PunchGuardError {
  return new PunchGuardError('PEER_EXISTS', `the tunnel key ${shortKey(publicKey)} cannot be added`, {
    hint: 'every device needs a key of its own, and can be added once',
  })
}
