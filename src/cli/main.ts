#!/usr/bin/env node
/** The program `punchguard`. */

// A daemon needs the device, and loading it is most of a start: begun before anything else is even looked at.
const backends = process.argv[2] === 'daemon' ? import('../device/backends.ts') : undefined
const { runCommandLine } = await import('./command-line.ts')

const status = await runCommandLine(process.argv.slice(2), {
  // The other commands only talk to a daemon.
  createDevice: async (options) => (await (backends ?? import('../device/backends.ts'))).createDevice(options),
})
// Whatever a library left open must not keep a finished command alive.
process.exit(status)
