/** The lab inside its own namespaces: a private /run for everything it keeps, one run, one result. */

import type { LabOptions } from './options.ts'
import { type LabResult, Report } from './report.ts'
import { enterPrivateRun, stopWithInput } from './stage.ts'
import { runLab } from './story.ts'

const lab: LabOptions = JSON.parse(process.argv[2] ?? '')
const report = new Report((text) => void (lab.json ? process.stderr : process.stdout).write(text))
const { signal } = stopWithInput()

function print(result: LabResult): void {
  if (!result.ok) {
    process.stderr.write(`punchguard: error: ${result.error ?? 'unknown'}\n`)
    if (result.hint !== undefined) process.stderr.write(`punchguard: hint: ${result.hint}\n`)
  } else {
    report.text('')
    report.table([
      ['paired', `${result.paired_ms?.toFixed(0)} ms from the invite typed to both sides pinned`],
      ['tunnel up', `${result.tunnel_up_ms?.toFixed(0)} ms from 'up' on both to the first ping`],
      ['ping', `${result.ping_ms?.toFixed(1)} ms a to b, ${result.ping_back_ms?.toFixed(1)} ms b to a`],
      ['copied', `${result.copied_bytes} bytes, ${result.copy_mbit_s?.toFixed(0)} Mbit/s, SHA-256 equal`],
      ['path', result.path ?? ''],
      ['healed', `${result.heal_ms?.toFixed(0)} ms longest gap around the change of address`],
      ['all in', `${result.seconds.toFixed(1)} s, and everything is taken down`],
    ])
  }
  if (lab.json) process.stdout.write(`${JSON.stringify(rounded(result))}\n`)
}

/** Milliseconds and the like to three digits after the point. */
function rounded(result: LabResult): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(result).map(([name, value]) => [
      name,
      typeof value === 'number' ? Math.round(value * 1000) / 1000 : value,
    ]),
  )
}

const folder = enterPrivateRun()
const result = await runLab({ lab, report, folder, signal })
print(result)
process.exit(result.ok ? 0 : signal.aborted ? 130 : 1)
