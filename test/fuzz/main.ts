/**
 * npm run fuzz -- [--seed TEXT] [--count N] [PART ...]: gives every target whose name contains one of the PARTs N mutated
 * inputs, a million unless told, and says what became of them. The seed of a run is printed first and repeats it.
 */

import { parseArgs } from 'node:util'
import { errorMessage } from '../../src/api/errors.ts'
import { toHex } from '../../src/util/bytes.ts'
import { systemClock } from '../../src/util/clock.ts'
import { systemRandom } from '../../src/util/random.ts'
import { runTarget, targets } from './targets.ts'

const { values, positionals } = parseArgs({
  options: { seed: { type: 'string' }, count: { type: 'string', default: '1000000' } },
  allowPositionals: true,
})
const seed = values.seed ?? toHex(systemRandom.bytes(4))
const count = Math.max(1, Math.round(Number(values.count)) || 1)
const chosen = targets.filter(({ name }) => positionals.length === 0 || positionals.some((part) => name.includes(part)))

console.log(`seed ${seed}, ${count} inputs each`)
let failed = 0
for (const target of chosen) {
  const start = systemClock.now()
  try {
    const { inputs, reasons } = runTarget(target, { seed, count })
    const seconds = ((systemClock.now() - start) / 1000).toFixed(1)
    const told = Object.entries(reasons).map(([reason, times]) => `${reason} ${times}`)
    console.log(`passed  ${target.name}: ${inputs} in ${seconds} s; ${told.join(', ')}`)
  } catch (error) {
    failed++
    console.log(`FAILED  ${target.name} (--seed ${seed} --count ${count}): ${errorMessage(error)}`)
  }
}
console.log(`${chosen.length - failed} passed, ${failed} failed`)
process.exitCode = failed > 0 || chosen.length === 0 ? 1 : 0
