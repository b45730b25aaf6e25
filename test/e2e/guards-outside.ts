/** Enters the lab's namespaces and runs guards-inside.ts there. */

import { fileURLToPath } from 'node:url'
import { runOutside } from '../../lab/outside.ts'

runOutside((enter) => enter([fileURLToPath(new URL('guards-inside.js', import.meta.url))]))
