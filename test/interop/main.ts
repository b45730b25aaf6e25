/**
 * npm run interop [-- [--json] PART ...]: runs every scenario whose peer or name contains one of the PARTs, one after
 * the other, and prints a table. What a machine lacks is skipped aloud; where CI is set that is a failure.
 */

import { errorMessage } from '../../src/api/errors.ts'
import { scenarios as kernel } from './kernel.ts'
import { scenarios as otr } from './otr.ts'
import type { InteropScenario } from './scenario.ts'
import { scenarios as tox } from './tox.ts'
import { scenarios as windows } from './windows.ts'
import { scenarios as wireguard } from './wireguard.ts'
import { scenarios as wireguardWorkers } from './wireguard-workers.ts'

const all: readonly InteropScenario[] = [...tox, ...otr, ...wireguard, ...wireguardWorkers, ...kernel, ...windows]

/** A scenario that takes longer has failed unless it says otherwise, ms. */
const usualTimeLimit = 60_000

const { CI: ci = '' } = process.env

interface Outcome {
  readonly peer: string
  readonly version: string
  readonly scenario: string
  readonly outcome: 'passed' | 'failed' | 'skipped'
  readonly result: string
  readonly seconds: number
}

async function run(scenario: InteropScenario): Promise<Outcome> {
  const { peer, name, timeLimit = usualTimeLimit } = scenario
  const missing = await scenario.missing()
  if (missing !== undefined) {
    const outcome = ci === 'true' ? 'failed' : 'skipped'
    return { peer, version: '-', scenario: name, outcome, result: `missing: ${missing}`, seconds: 0 }
  }
  const start = performance.now()
  const controller = new AbortController()
  const timer = setTimeout(() => controller.abort(new Error(`not done after ${timeLimit / 1000} s`)), timeLimit)
  const end = (outcome: 'passed' | 'failed', result: string, version: string): Outcome => ({
    ...{ peer, version, scenario: name, outcome, result },
    seconds: Math.round((performance.now() - start) / 100) / 10,
  })
  let version = '?'
  try {
    version = await scenario.version()
    return end('passed', await scenario.run({ signal: controller.signal }), version)
  } catch (error) {
    return end('failed', errorMessage(error), version)
  } finally {
    clearTimeout(timer)
  }
}

function print(outcomes: readonly Outcome[]): void {
  const rows = outcomes.map((one) => [
    `${one.peer} ${one.version}`,
    one.scenario,
    one.outcome,
    `${one.seconds.toFixed(1)} s`,
    one.result,
  ])
  const table = [['peer', 'scenario', 'outcome', 'time', 'result'], ...rows]
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)))
  for (const row of table) console.log(row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '))
}

const args = process.argv.slice(2)
const parts = args.filter((argument) => !argument.startsWith('--'))
const chosen = all.filter(
  ({ peer, name }) => parts.length === 0 || parts.some((part) => `${peer} ${name}`.includes(part)),
)
const outcomes: Outcome[] = []
for (const scenario of chosen) {
  console.error(`${scenario.peer}: ${scenario.name} ...`)
  outcomes.push(await run(scenario))
}
print(outcomes)
const failed = outcomes.filter(({ outcome }) => outcome === 'failed').length
const skipped = outcomes.filter(({ outcome }) => outcome === 'skipped').length
const passed = outcomes.length - failed - skipped
console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`)
if (args.includes('--json')) console.log(JSON.stringify({ outcomes }))
process.exit(failed > 0 || passed === 0 ? 1 : 0)
