// node scripts/run.mjs PROGRAM [ARG ...]: builds, then runs dist/PROGRAM with our standard streams and exit status.

import { join } from 'node:path'
import { prepare, root, run } from './prepare.mjs'

prepare()
const [program, ...args] = process.argv.slice(2)
run(process.execPath, ['--enable-source-maps', join(root, 'dist', program), ...args])
