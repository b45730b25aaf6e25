#!/usr/bin/env node
/** The program `punchguard`. */

import { runCommandLine } from './command-line.ts'

const status = await runCommandLine(process.argv.slice(2), {
  // Loaded by the daemon alone: the other commands only talk to it.
  createDevice: async (options) => (await import('../device/backends.ts')).createDevice(options),
})
// Whatever a library left open must not keep a finished command alive.
process.exit(status)
