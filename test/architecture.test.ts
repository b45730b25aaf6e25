/** Who may import whom (docs/architecture.md). A room that reaches sideways fails here, with the line to change. */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const source = join(root, 'src')

const rooms = ['signal', 'secret', 'punch', 'guard']
const belowDevice = ['util', 'api', 'net', ...rooms, 'pairing', 'session']

/** Per folder of src/: the other folders its files may import. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  util: [],
  api: ['util'],
  net: ['util', 'api'],
  ...Object.fromEntries(rooms.map((room) => [room, ['util', 'api', 'net']])),
  pairing: ['util', 'api'],
  session: ['util', 'api'],
  device: belowDevice,
  daemon: [...belowDevice, 'device'],
  cli: [...belowDevice, 'device', 'daemon'],
  'index.ts': [...belowDevice, 'device'],
}

function sourceFiles(): string[] {
  return readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(source, file))
}

function roomOf(file: string): string {
  return relative(source, file).split('/')[0] ?? ''
}

/** The modules a file imports, as written. */
function imports(file: string): string[] {
  const text = readFileSync(file, 'utf8')
  return [
    ...text.matchAll(/^(?:import|export)\b[^'\n]*?(?:from )?'([^']+)'|^\} from '([^']+)'|\bimport\('([^']+)'\)/gm),
  ].map((match) => match[1] ?? match[2] ?? match[3] ?? '')
}

test('every room imports only the rooms below it', () => {
  const broken: string[] = []
  for (const file of sourceFiles()) {
    const room = roomOf(file)
    for (const name of imports(file)) {
      if (!name.startsWith('.')) continue
      const target = roomOf(resolve(dirname(file), name))
      if (target !== room && !allowed[room]?.includes(target)) {
        broken.push(`${relative(root, file)} must not import ${name}`)
      }
    }
  }
  assert.deepEqual(broken, [])
})

test('the import rule knows every folder of src', () => {
  const folders = new Set(sourceFiles().map(roomOf))
  assert.deepEqual([...folders].filter((folder) => !(folder in allowed)).sort(), [])
})

test('only shells touch the operating system: machines import no socket, file, process or timer', () => {
  const shells = /^(net|device|daemon|cli)\/|\.test\.ts$|^util\/(clock|random)\.ts$|-shell\.ts$/
  const forbidden = /^node:(dgram|net|fs|fs\/promises|child_process|timers|http|os|worker_threads|dns)$/
  const broken: string[] = []
  for (const file of sourceFiles()) {
    const path = relative(source, file)
    if (shells.test(path)) continue
    for (const name of imports(file)) if (forbidden.test(name)) broken.push(`src/${path} must not import ${name}`)
  }
  assert.deepEqual(broken, [])
})

test('no source file is longer than 600 lines', () => {
  const long = sourceFiles().filter((file) => readFileSync(file, 'utf8').split('\n').length > 601)
  assert.deepEqual(
    long.map((file) => relative(root, file)),
    [],
  )
})
