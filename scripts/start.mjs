// npm start: installs and builds what is missing, then is the two-device lab (lab/main.ts).

import { prepare, program } from './prepare.mjs'

await prepare()
await program('lab/main.js')
