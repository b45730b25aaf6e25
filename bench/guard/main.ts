/**
 * The embedded guard against wireguard-go, between two namespaces over veth, alternated in one run. As root:
 *
 *   npm run bench:guard -- [--json] [--rounds N] [--seconds N] [--only NAME,NAME] [--newest PROGRAM] [--verbose]
 *
 * What each figure is and where it does not hold: bench/README.md.
 */

import { existsSync } from 'node:fs'
import { type Figure, printFigures } from '../figures.ts'
import { TwoNamespaces } from '../two-namespaces.ts'
import { attempt, type Bench } from './bench.ts'
import { debian, WireguardGo } from './carriers.ts'
import { measureFlood } from './flood.ts'
import { measureLossy } from './lossy.ts'
import { measureManyPeers } from './peers.ts'
import { measureThroughput, throughputNames } from './throughput.ts'

const flags = process.argv.slice(2)
const only = option('only')?.split(',')

function option(name: string): string | undefined {
  const at = flags.indexOf(`--${name}`)
  return at === -1 ? undefined : flags[at + 1]
}

function wants(what: string): boolean {
  return only === undefined || only.includes(what)
}

const parts: readonly {
  readonly names: readonly string[]
  readonly measure: (bench: Bench) => Promise<readonly Figure[]>
}[] = [
  { names: throughputNames, measure: (bench) => measureThroughput(bench, wants) },
  { names: ['peers8'], measure: measureManyPeers },
  { names: ['flood'], measure: measureFlood },
  { names: ['lossy'], measure: measureLossy },
]

async function run(): Promise<boolean> {
  if (process.getuid?.() !== 0) throw new Error('the namespaces need root')
  const failures: string[] = []
  using wireguardGo = await WireguardGo.find(option('newest'))
  if (!wireguardGo.isNewest) failures.push('the newest wireguard-go was not built: compared with the one of Debian')
  if (!existsSync(debian)) failures.push('wireguard-go of Debian is not installed')
  const spaces = new TwoNamespaces(`pg-b${process.pid}`)
  const figures: Figure[] = []
  try {
    const bench: Bench = {
      spaces,
      wireguardGo,
      rounds: Number(option('rounds') ?? 5),
      seconds: Number(option('seconds') ?? 3),
      failures,
    }
    for (const { names, measure } of parts)
      if (names.some(wants))
        await attempt(bench, names.join(), async () => void figures.push(...(await measure(bench))))
  } finally {
    await spaces.endPrograms()
    spaces.close()
  }
  const shown = only === undefined ? figures : figures.filter(({ runs }) => runs > 0)
  return printFigures(shown, { json: flags.includes('--json'), failures })
}

// What is left of the run goes when the process exits, however it does (two-namespaces.ts, carriers.ts).
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => process.exit(130))
process.exitCode = (await run()) ? 0 : 1
