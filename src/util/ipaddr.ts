/** ipaddr.js by way of `require`: when it is imported, Node searches its text for names, 25 ms in each thread that needs it. */

import { createRequire } from 'node:module'
import type Ipaddr from 'ipaddr.js'

export const ipaddr: typeof Ipaddr = createRequire(import.meta.url)('ipaddr.js')
