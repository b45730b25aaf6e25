/** One run of `npm start`, top to bottom: pair, up, ping, copy, another public address, and what came of it. */

import { errorMessage, PunchGuardError } from '../src/api/errors.ts'
import type { LabOptions } from './options.ts'
import { describePath, type LabResult, type Report } from './report.ts'
import { Scene } from './scene.ts'
import { copy, heal, pair, roundTrip, up } from './steps.ts'
import { draw } from './topology.ts'

export interface StoryOptions {
  readonly lab: LabOptions
  readonly report: Report
  readonly folder: string
  readonly signal: AbortSignal
}

type Figures = { -readonly [Name in keyof LabResult]: LabResult[Name] }

/** Never throws: what went wrong is in the result. */
export async function runLab({ lab, report, folder, signal }: StoryOptions): Promise<LabResult> {
  const figures: Partial<Figures> = {}
  try {
    await play(figures, { lab, report, folder, signal })
    const ok = figures.sha256_equal === true
    return { ...figures, ok, seconds: report.seconds, ...(!ok && { error: 'the copy differs from the original' }) }
  } catch (error) {
    const why = signal.aborted ? 'stopped' : errorMessage(error)
    const hint = error instanceof PunchGuardError && !signal.aborted ? { hint: error.hint } : {}
    return { ...figures, ok: false, seconds: report.seconds, error: why, ...hint }
  }
}

async function play(figures: Partial<Figures>, { lab, report, folder, signal }: StoryOptions): Promise<void> {
  report.text(draw({ kinds: lab.kinds, line: describeLine(lab), router: describeRouters(lab) }))
  const log = lab.verbose ? (line: string): void => report.line('', line) : (): void => {}
  const { delay, jitter, loss, rate, mtu, kinds, nat, guards } = lab
  await using scene = await Scene.build({
    kinds,
    nat,
    guards,
    link: { delay, jitter, loss, rate, mtu },
    folder,
    signal,
    log,
    verbose: lab.verbose,
    onEvent: (who, event) => report.event(who, event),
  })
  report.line('', 'three Tox nodes and two STUN addresses answer')
  const { a, b } = scene
  await Promise.all([a.device.start(), b.device.start()])
  report.line('', 'a daemon runs on each device')

  report.line('a', '$ punchguard pair           (prints an invite)')
  report.line('b', '$ punchguard pair INVITE')
  const { milliseconds, tunnel } = await pair(scene, signal)
  figures.paired_ms = milliseconds
  report.line('', `paired: ${seconds(figures.paired_ms)} from the invite typed to both sides pinned`)

  report.line('', '$ punchguard up              (on both)')
  figures.tunnel_up_ms = await up(scene, { address: tunnel.b, signal })
  report.line('', `the first ping came back through the tunnel after ${seconds(figures.tunnel_up_ms)}`)

  figures.ping_ms = await roundTrip(a, { address: tunnel.b, signal })
  figures.ping_back_ms = await roundTrip(b, { address: tunnel.a, signal })
  report.line('', `ping a to b ${figures.ping_ms.toFixed(1)} ms, b to a ${figures.ping_back_ms.toFixed(1)} ms`)
  figures.path = await describedPath(scene)
  report.line('a', `$ punchguard status: ${figures.path}`)

  const copied = await copy(scene, { address: tunnel.b, bytes: lab.bytes, signal })
  figures.copied_bytes = copied.bytes
  figures.sha256_equal = copied.equal
  figures.copy_mbit_s = copied.megabitsPerSecond
  report.line(
    '',
    `copied ${(copied.bytes / 2 ** 20).toFixed(1)} MiB at ${copied.megabitsPerSecond.toFixed(0)} Mbit/s, ` +
      `SHA-256 ${copied.equal ? 'equal' : 'DIFFERENT'}`,
  )

  figures.path_mtu = (await a.device.status()).peers[0]?.path?.mtu
  const before = a.place.publicAddress
  report.line('a', `its public address changes now, from ${before} to ${a.place.nextPublicAddress}`)
  figures.heal_ms = await heal(scene, { address: tunnel.b, signal })
  figures.path = await describedPath(scene)
  report.line('', `healed: the longest gap of a 20 ms ping was ${seconds(figures.heal_ms)}`)
  report.line('a', `$ punchguard status: ${figures.path}`)
  await Promise.all([a.device.run(['down']), b.device.run(['down'])])
  report.line('', 'down on both')
}

async function describedPath({ a }: Scene): Promise<string> {
  const path = (await a.device.status()).peers[0]?.path
  return path === undefined ? 'none' : describePath(path)
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(2)} s`
}

function describeLine({ delay, jitter, loss, rate, mtu }: LabOptions): string {
  const words = [`${delay} ms`]
  if (mtu < 1500) words.push(`up to ${mtu} bytes`)
  if (jitter > 0) words.push(`+0..${jitter} ms`)
  if (loss > 0) words.push(`${loss * 100} % lost`)
  if (rate < Number.MAX_VALUE) words.push(`${rate / 1e6} Mbit/s`)
  return words.join(', ')
}

function describeRouters({ nat }: LabOptions): string {
  return nat === 'model' ? "the lab's own, in TypeScript" : "the kernel's, through nftables"
}
