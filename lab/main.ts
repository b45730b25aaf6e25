/** `npm start`: reads the options, enters fresh namespaces and runs the lab there (inside.ts). */

import { fileURLToPath } from 'node:url'
import { labHelp, parseLabOptions } from './options.ts'
import { runOutside } from './outside.ts'

runOutside(async (enter) => {
  const options = parseLabOptions(process.argv.slice(2))
  if (options === 'help') {
    process.stdout.write(labHelp)
    return 0
  }
  return await enter([fileURLToPath(new URL('inside.js', import.meta.url)), JSON.stringify(options)])
})
