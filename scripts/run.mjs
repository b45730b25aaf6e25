// node scripts/run.mjs PROGRAM [ARG ...]: builds, then is dist/PROGRAM.

import { prepare, program } from './prepare.mjs'

await prepare()
const [name] = process.argv.splice(2, 1)
await program(name)
