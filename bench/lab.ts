/** `npm run bench:lab`: the figures of two devices in the lab (README.md has how each is made). */

import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { runOutside } from '../lab/outside.ts'

const help = `Usage: npm run bench:lab -- [--runs N] [--json] [--verbose]

Measures pairing, connecting and healing of two devices in the lab, N times (default 5), with 20 ms each way on each
site's line. With --json the last line of standard output is {"figures": [...], "ok": ...}; the exit status says
ok. --verbose shows every event of the devices on the way.

Example:
  npm run bench:lab -- --json | tail -1
`

runOutside(async (enter) => {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '5' },
      json: { type: 'boolean' },
      verbose: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  })
  if (values.help === true) {
    process.stdout.write(help)
    return 0
  }
  const runs = Math.max(1, Math.round(Number(values.runs)) || 5)
  const inside = fileURLToPath(new URL('lab-inside.js', import.meta.url))
  return await enter([inside, JSON.stringify({ runs, json: values.json === true, verbose: values.verbose === true })])
})
