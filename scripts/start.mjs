// npm start: installs and builds what is missing, then runs the two-device lab (lab/main.ts).

import { join } from 'node:path'
import { prepare, root, run } from './prepare.mjs'

prepare()
run(process.execPath, ['--enable-source-maps', join(root, 'dist', 'lab', 'main.js'), ...process.argv.slice(2)])
