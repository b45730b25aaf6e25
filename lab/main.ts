/** `npm start`: reads the options, enters fresh namespaces and runs the lab there (inside.ts). */

import { fileURLToPath } from 'node:url'
import { errorMessage, PunchGuardError } from '../src/api/errors.ts'
import { runInFreshNamespaces } from './enter.ts'
import { labHelp, parseLabOptions } from './options.ts'

async function main(): Promise<number> {
  const options = parseLabOptions(process.argv.slice(2))
  if (options === 'help') {
    process.stdout.write(labHelp)
    return 0
  }
  const inside = fileURLToPath(new URL('inside.js', import.meta.url))
  return await runInFreshNamespaces([inside, JSON.stringify(options)], {
    signal: stopSignal(),
    say: (line) => process.stderr.write(`${line}\n`),
  })
}

/** Aborted by the first request to stop; everything is taken down then. */
function stopSignal(): AbortSignal {
  const stopping = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => stopping.abort())
  return stopping.signal
}

main().then(
  (status) => {
    process.exitCode = status
  },
  (error: unknown) => {
    process.stderr.write(`punchguard: error: ${errorMessage(error)}\n`)
    if (error instanceof PunchGuardError) process.stderr.write(`punchguard: hint: ${error.hint}\n`)
    process.exitCode = 1
  },
)
