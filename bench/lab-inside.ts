/** The measuring half of bench/lab.ts, inside its own namespaces: every run has a new lab, new keys and new state. */

import { siteKinds } from '../lab/model/kinds.ts'
import { Report } from '../lab/report.ts'
import { Scene } from '../lab/scene.ts'
import { enterPrivateRun, stopWithInput } from '../lab/stage.ts'
import { heal, median, pair, up } from '../lab/steps.ts'
import { pause } from '../lab/waiting.ts'
import { errorMessage } from '../src/api/errors.ts'
import { type Figure, printFigures } from './figures.ts'

const { runs, json, verbose }: { readonly runs: number; readonly json: boolean; readonly verbose: boolean } =
  JSON.parse(process.argv[2] ?? '')
const delay = 20
const kind = siteKinds['eim-apdf']
const idlePeriod = 60_000
const settleTime = 5000

interface Samples {
  readonly pair: number[]
  readonly upCold: number[]
  readonly upCached: number[]
  readonly heal: number[]
  readonly resident: number[]
  readonly idle: number[]
}

const report = new Report((text) => void process.stderr.write(text))
const { signal } = stopWithInput()
const folder = enterPrivateRun()
const samples: Samples = { pair: [], upCold: [], upCached: [], heal: [], resident: [], idle: [] }
const failures: string[] = []

for (let run = 1; run <= runs && !signal.aborted; run++) {
  try {
    await measure(run)
  } catch (error) {
    if (signal.aborted) break
    failures.push(`run ${run}: ${errorMessage(error)}`)
    report.line('', `run ${run} failed: ${errorMessage(error)}`)
  }
}
if (signal.aborted) process.exit(130)
const ok = printFigures(figures(), { json, failures })
process.exit(ok ? 0 : 1)

async function measure(run: number): Promise<void> {
  await using scene = await Scene.build({
    kinds: [kind, kind],
    nat: 'model',
    link: { delay },
    folder: `${folder}/${run}`,
    signal,
    onEvent: (who, event) => {
      if (verbose) report.event(who, event)
    },
    log: () => {},
    verbose,
  })
  const { a, b } = scene
  const both = (args: readonly string[]): Promise<unknown> => Promise.all([a.device.run(args), b.device.run(args)])
  // Only for --verbose: each start is another daemon.
  const listen = (): Promise<unknown> => Promise.all(verbose ? [a.device.listen(), b.device.listen()] : [])
  const note = (what: string, value: number): void => report.line('', `run ${run}: ${what} ${value.toFixed(0)}`)

  await Promise.all([a.device.start(), b.device.start()])
  const { milliseconds, tunnel } = await pair(scene, signal)
  const through = { address: tunnel.b, signal }
  samples.pair.push(milliseconds)
  note('pair_ms', samples.pair.at(-1) ?? 0)
  await both(['stop'])
  samples.upCold.push(await up(scene, through))
  await listen()
  note('up_cold_ms', samples.upCold.at(-1) ?? 0)
  await pause(settleTime, signal)
  await both(['stop'])
  samples.upCached.push(await up(scene, through))
  await listen()
  note('up_cached_ms', samples.upCached.at(-1) ?? 0)
  await pause(settleTime, signal)
  samples.heal.push(await heal(scene, through))
  note('heal_ms', samples.heal.at(-1) ?? 0)
  await pause(settleTime, signal)
  for (const { device } of [a, b]) {
    const resident = device.residentBytes()
    if (resident !== undefined) samples.resident.push(resident / 2 ** 20)
  }
  if (run === runs) samples.idle.push(...(await idleTraffic(scene)))
}

/** Bytes on the line of each device in a minute in which nothing is sent through the tunnel. */
async function idleTraffic({ a, b }: Scene): Promise<readonly number[]> {
  const total = (): readonly number[] => [a, b].map(({ place }) => place.traffic().sent + place.traffic().received)
  const before = total()
  await pause(idlePeriod, signal)
  return total().map((bytes, index) => ((bytes - (before[index] ?? 0)) * 60_000) / idlePeriod)
}

function figures(): readonly Figure[] {
  return [
    { name: 'pair_ms', unit: 'ms', bar: 8000, samples: samples.pair },
    { name: 'up_cold_ms', unit: 'ms', bar: 4000, samples: samples.upCold },
    { name: 'up_cached_ms', unit: 'ms', bar: 1000, samples: samples.upCached },
    { name: 'heal_ms', unit: 'ms', bar: 6000, samples: samples.heal },
    { name: 'rss_mib', unit: 'MiB', bar: 120, samples: samples.resident },
    { name: 'idle_bytes_per_min', unit: 'bytes', samples: samples.idle },
  ].map(({ samples: values, ...figure }) => ({ ...figure, value: median(values), runs: values.length }))
}
