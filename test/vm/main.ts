/**
 * node scripts/run.mjs test/vm/main.js [PROGRAM [ARG ...]]: the story of inside.ts, or another program of dist/, in the virtual machine, with
 * everything that the machine says.
 */

import { systemClock } from '../../src/util/clock.ts'
import { runInside } from './run-inside.ts'

const begun = systemClock.now()
const onLine = (line: string): void => {
  console.log(`${((systemClock.now() - begun) / 1000).toFixed(1).padStart(5)} s  ${line}`)
}
const given = process.argv.slice(2)
const command = given.length > 0 ? given : ['test/vm/inside.js', '--verbose']
const { results } = await runInside({ command, signal: AbortSignal.timeout(300_000), onLine })
process.exit(results.at(-1) === 'passed' ? 0 : 1)
