// npm start: installs and builds what is missing, then runs the two-device lab (lab/main.ts).

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { prepare, root } from './prepare.mjs'

prepare()
const lab = spawn(
  process.execPath,
  ['--enable-source-maps', join(root, 'dist', 'lab', 'main.js'), ...process.argv.slice(2)],
  { cwd: root, stdio: 'inherit' },
)
// The lab takes itself down when it is asked to stop: we wait for that, and pass on what only we were told.
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => lab.kill(name))
lab.on('exit', (status) => process.exit(status ?? 1))
