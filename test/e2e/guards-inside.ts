/**
 * The run of guards.test.ts in the lab's namespaces: wireguard-go on a, the embedded guard on b, two NATs between them.
 * The last line it prints is a GuardsRun.
 */

import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'
import { siteKinds } from '../../lab/model/kinds.ts'
import { runProgram } from '../../lab/program.ts'
import { type Actor, Scene } from '../../lab/scene.ts'
import { enterPrivateRun, stopWithInput } from '../../lab/stage.ts'
import { copy, firstReply, heal, pair, up } from '../../lab/steps.ts'
import { limited, pause } from '../../lab/waiting.ts'
import type { DeviceStatus } from '../../src/api/device.ts'

export interface GuardsRun {
  readonly guards: readonly DeviceStatus['guard'][]
  readonly copies: readonly boolean[]
  /** Longest gaps of a ping each 20 ms, ms. */
  readonly addressChangeGap: number
  readonly programKilledGap: number
  readonly interfaceDeletedGap: number
  /** Numbers of the programs that ran one after the other: at first, and after each of these two. */
  readonly programs: readonly number[]
  /** What a stop in an orderly way has left. */
  readonly leftByStop: Traces
  /** What a killed daemon has left after a moment. */
  readonly leftByKill: Traces
  readonly undoneAtStart: boolean
  readonly leftAtEnd: Traces
}

interface Traces {
  readonly programs: number
  readonly links: readonly string[]
  readonly routes: readonly string[]
  readonly sockets: readonly string[]
  readonly undoLog: boolean
}

const folder = enterPrivateRun()
const { signal } = stopWithInput()
const log: string[] = []

/** Numbers of the processes of a program in this lab. */
function processesOf(program: string): number[] {
  return readdirSync('/proc').flatMap((entry) => {
    try {
      return basename(readlinkSync(`/proc/${entry}/exe`)) === program ? [Number(entry)] : []
    } catch {
      return []
    }
  })
}

function daemonOf({ device }: Actor): number {
  const found = processesOf('node').find((pid) => {
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    return environment.includes(`PUNCHGUARD_DIR=${folder}/${device.name}`) && command.includes('daemon')
  })
  if (found === undefined) throw new Error(`${device.name} has no daemon`)
  return found
}

function traces({ device }: Actor): Traces {
  const inside = (...args: string[]): string => runProgram(['ip', '-n', device.name, ...args])
  const sockets = '/run/wireguard'
  return {
    programs: processesOf('wireguard-go').length,
    links: [...inside('-o', 'link').matchAll(/^\d+: (pg[^:@]*)/gm)].map(([, name = '']) => name),
    routes: inside('route', 'show', 'table', 'all').match(/^.*\bpg-.*$/gm) ?? [],
    sockets: existsSync(sockets) ? readdirSync(sockets) : [],
    undoLog: readdirSync(`${folder}/${device.name}`).includes('undo.json'),
  }
}

/** Waits for what another process does. */
async function until(what: string, condition: () => boolean): Promise<void> {
  const poll = async (): Promise<void> => {
    while (!condition()) await pause(20, signal)
  }
  await limited(poll(), { within: 10_000, what, signal })
}

async function play(): Promise<GuardsRun> {
  await using scene = await Scene.build({
    kinds: [siteKinds['eim-apdf'], siteKinds['eim-apdf']],
    nat: 'model',
    guards: ['wireguard-go', 'embedded'],
    link: { delay: 5 },
    folder,
    signal,
    onEvent: (who, event) => log.push(`${who} ${JSON.stringify(event)}`),
    log: (line) => log.push(line),
    verbose: true,
  })
  const { a, b } = scene
  await Promise.all([a.device.start(), b.device.start()])
  const { tunnel } = await pair(scene, signal)
  const toB = { address: tunnel.b, signal }
  await up(scene, toB)
  const guards = [(await a.device.status()).guard, (await b.device.status()).guard]
  const copies = [(await copy(scene, { ...toB, bytes: 2 ** 22 })).equal]
  const addressChangeGap = await heal(scene, toB)

  const programs: number[] = processesOf('wireguard-go')
  const killProgram = (): void => void process.kill(programs.at(-1) ?? 0, 'SIGKILL')
  const programKilledGap = await heal(scene, { ...toB, disturb: killProgram })
  programs.push(...processesOf('wireguard-go'))
  const deleteInterface = (): void => void runProgram(['ip', '-n', 'a', 'link', 'delete', 'dev', 'pg-tun-a'])
  const interfaceDeletedGap = await heal(scene, { ...toB, disturb: deleteInterface })
  programs.push(...processesOf('wireguard-go'))
  copies.push((await copy(scene, { ...toB, bytes: 2 ** 22 })).equal)

  await a.device.run(['stop'])
  const leftByStop = traces(a)
  await a.device.start()
  await firstReply(a, toB)

  const daemon = daemonOf(a)
  process.kill(daemon, 'SIGKILL')
  const isGone = (): boolean => processesOf('wireguard-go').length === 0 && traces(a).links.length === 0
  await until('the end of the program with the daemon', isGone)
  const leftByKill = traces(a)
  log.length = 0
  await a.device.start()
  await firstReply(a, toB)
  const undoneAtStart = log.some((line) => line.includes('took back what the last process left'))
  copies.push((await copy(scene, { ...toB, bytes: 2 ** 20 })).equal)
  await a.device.run(['stop'])
  const leftAtEnd = traces(a)
  return {
    guards,
    copies,
    addressChangeGap,
    programKilledGap,
    interfaceDeletedGap,
    programs,
    leftByStop,
    leftByKill,
    undoneAtStart,
    leftAtEnd,
  }
}

try {
  const run = await play()
  process.stdout.write(`${JSON.stringify(run)}\n`)
  process.exit(0)
} catch (error) {
  process.stderr.write(`${log.slice(-200).join('\n')}\n${error instanceof Error ? error.stack : error}\n`)
  process.exit(1)
}
