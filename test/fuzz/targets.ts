/** Everything that is fuzzed, and how a target gets its own numbers from the seed of a run. */

import { Generator } from '../../lab/model/generator.ts'
import { handshakeTargets } from './handshake.ts'
import { innerTargets } from './inner.ts'
import type { FuzzResult, FuzzTarget } from './mutate.ts'
import { transportTargets } from './transport.ts'
import { underlayTargets } from './underlay.ts'

export const targets: readonly FuzzTarget[] = [
  ...handshakeTargets,
  ...transportTargets,
  ...innerTargets,
  ...underlayTargets,
]

export function runTarget(
  { name, run }: FuzzTarget,
  options: { readonly seed: string; readonly count: number },
): FuzzResult {
  return run(new Generator(`${options.seed} ${name}`), options.count)
}
