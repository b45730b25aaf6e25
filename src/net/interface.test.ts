import assert from 'node:assert/strict'
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import fc from 'fast-check'
import { PunchGuardError } from '../api/errors.ts'
import { overlap } from '../api/ip-prefix.ts'
import { NetworkInterface } from './interface.ts'
import { decodeLink, decodeRoutes } from './ip-command.ts'
import { CommandError, runCommand } from './run-command.ts'
import { overlapsLiveRoute } from './system-network.ts'
import { decodeLogLine } from './undo.ts'
import { UndoLog, undoLeftovers } from './undo-log.ts'

const skip: string | false = process.platform === 'linux' ? false : 'interfaces are set on Linux only'

interface Link {
  readonly index: number
  mtu: number
  up: boolean
  readonly addresses: Set<string>
  readonly routes: Set<string>
}

/** As much of `ip` and the kernel behind it as the interface uses. */
class FakeKernel {
  readonly links: Map<string, Link> = new Map()
  readonly log: string[] = []
  /** What the undo log held when each change was made. */
  readonly logAtChange: string[] = []
  readonly path: string
  refuse: RegExp | undefined

  constructor(path: string) {
    this.path = path
  }

  add(name: string, index: number): Link {
    const link = { index, mtu: 1500, up: false, addresses: new Set<string>(), routes: new Set<string>() }
    this.links.set(name, link)
    return link
  }

  readonly run = async (program: string, args: readonly string[]): Promise<string> => {
    assert.equal(program, 'ip')
    const command = args.join(' ')
    if (this.refuse?.test(command)) throw new CommandError(command, 'RTNETLINK answers: Operation not permitted')
    if (!command.startsWith('-o')) {
      this.log.push(command)
      this.logAtChange.push(await readFile(this.path, 'utf8').catch(() => ''))
    }
    if (args[1] === 'add') {
      this.add(args[3] ?? '', Number(args[5]))
      return ''
    }
    const name = args[args.indexOf('dev') + 1] ?? ''
    const link = this.links.get(name)
    if (link === undefined) throw new CommandError(command, `Device "${name}" does not exist.`)
    return this.#apply(name, link, args)
  }

  #apply(name: string, link: Link, args: readonly string[]): string {
    const [family, object, verb, cidr = ''] = args
    if (family === '-o') return `${link.index}: ${name}: <NOARP${link.up ? ',UP' : ''}> mtu ${link.mtu} qdisc noop\n`
    if (object === 'delete') this.links.delete(name)
    else if (args.at(-2) === 'mtu') link.mtu = Number(args.at(-1))
    else if (object === 'set') link.up = args.at(-1) === 'up'
    else {
      const set = object === 'address' ? link.addresses : link.routes
      if (verb === 'add') set.add(cidr)
      else if (!set.delete(cidr)) throw new CommandError('ip', 'RTNETLINK answers: No such process')
    }
    return ''
  }
}

let folder: string
let path: string
let kernel: FakeKernel

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'punchguard-net-'))
  path = join(folder, 'undo.jsonl')
  kernel = new FakeKernel(path)
})

/** Logs of processes that the tests call dead. */
const opened: UndoLog[] = []

async function openLog(): Promise<UndoLog> {
  const log = await UndoLog.open(path, kernel)
  opened.push(log)
  return log
}

afterEach(async () => {
  for (const log of opened.splice(0)) await log[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

/** An interface with everything set on it. */
async function setUp(log: UndoLog): Promise<NetworkInterface> {
  kernel.add('pg0', 7)
  const tunnel = await NetworkInterface.adopt({ name: 'pg0', log, run: kernel.run })
  await tunnel.setMtu(1420)
  await tunnel.addAddress('10.70.1.2/32')
  await tunnel.addAddress('fd70:6775:6172::1/128')
  await tunnel.setUp()
  await tunnel.addRoute('10.70.1.3/32')
  return tunnel
}

test('what is set on an interface is taken back in reverse when it is disposed', { skip }, async () => {
  const log = await openLog()
  const tunnel = await setUp(log)
  const link = kernel.links.get('pg0')
  assert.ok(link !== undefined)
  assert.deepEqual({ mtu: link.mtu, up: link.up }, { mtu: 1420, up: true })
  assert.deepEqual([...link.addresses, ...link.routes], ['10.70.1.2/32', 'fd70:6775:6172::1/128', '10.70.1.3/32'])

  await tunnel[Symbol.asyncDispose]()
  assert.deepEqual(kernel.log.slice(5), [
    '-4 route delete 10.70.1.3/32 dev pg0',
    'link set dev pg0 down',
    '-6 address delete fd70:6775:6172::1/128 dev pg0',
    '-4 address delete 10.70.1.2/32 dev pg0',
    'link set dev pg0 mtu 1500',
  ])
  assert.deepEqual(link, { index: 7, mtu: 1500, up: false, addresses: new Set(), routes: new Set() })
  await log[Symbol.asyncDispose]()
  await assert.rejects(readFile(path), { code: 'ENOENT' })
})

test('every undo is in the log before its change is made', { skip }, async () => {
  await setUp(await openLog())
  const kinds = ['set-mtu', 'delete-address', 'delete-address', 'set-down', 'delete-route']
  assert.equal(kernel.logAtChange.length, kinds.length)
  kinds.forEach((kind, at) => {
    const lines = kernel.logAtChange[at]?.trim().split('\n') ?? []
    assert.equal(lines.length, at + 1)
    assert.match(lines[at] ?? '', new RegExp(`"kind":"${kind}"`))
  })
})

test('a start after a crash takes back what the dead process left, then forgets it', { skip }, async () => {
  await setUp(await openLog())
  await appendFile(path, '{"id":9,"undo":{"ki')
  assert.deepEqual(await undoLeftovers(path, kernel), { undone: 5, gone: 0, failed: [] })
  assert.equal(kernel.links.get('pg0')?.addresses.size, 0)
  assert.deepEqual(await undoLeftovers(path, kernel), { undone: 0, gone: 0, failed: [] })
})

test('an interface of the same name that is not ours is left alone', { skip }, async () => {
  await setUp(await openLog())
  const other = kernel.add('pg0', 8)
  other.addresses.add('10.70.1.2/32')
  assert.deepEqual(await undoLeftovers(path, kernel), { undone: 0, gone: 5, failed: [] })
  assert.deepEqual([...other.addresses], ['10.70.1.2/32'])
})

test('entries of another boot or namespace, and interfaces that are gone, are no errors', { skip }, async () => {
  await setUp(await openLog())
  const text = await readFile(path, 'utf8')
  await rm(path)
  await appendFile(path, text.replaceAll(/"place":"[^"]*"/g, '"place":"another boot"'))
  assert.deepEqual(await undoLeftovers(path, kernel), { undone: 0, gone: 5, failed: [] })

  await appendFile(path, text)
  kernel.links.clear()
  assert.deepEqual(await undoLeftovers(path, kernel), { undone: 0, gone: 5, failed: [] })
})

test('what cannot be taken back is reported and stays for the next start', { skip }, async () => {
  await setUp(await openLog())
  kernel.refuse = /address delete/
  const report = await undoLeftovers(path, kernel)
  assert.equal(report.undone, 3)
  assert.deepEqual(report.failed, [
    'delete-address of pg0: the network interface may not be changed',
    'delete-address of pg0: the network interface may not be changed',
  ])
  kernel.refuse = undefined
  const again = await openLog()
  await again[Symbol.asyncDispose]()
  assert.equal((await undoLeftovers(path, kernel)).failed.length, 0)
  assert.equal(kernel.links.get('pg0')?.addresses.size, 0)
})

test('a log that ends in a torn line takes new entries', { skip }, async () => {
  await appendFile(path, '{"id":4,"undo":{"kind":"set-d')
  const log = await openLog()
  await setUp(log)
  assert.equal((await undoLeftovers(path, kernel)).undone, 5)
})

test('a change that fails leaves nothing to undo and says why', { skip }, async () => {
  const log = await openLog()
  kernel.add('pg0', 7)
  const tunnel = await NetworkInterface.adopt({ name: 'pg0', log, run: kernel.run })
  kernel.refuse = /address add/
  await assert.rejects(
    tunnel.addAddress('10.70.1.2/32'),
    (error) => error instanceof PunchGuardError && error.code === 'PERMISSION_DENIED',
  )
  await log[Symbol.asyncDispose]()
  assert.deepEqual(kernel.log, [])
})

test('a route goes with its handle, and only once', { skip }, async () => {
  const log = await openLog()
  const link = kernel.add('pg0', 7)
  const tunnel = await NetworkInterface.adopt({ name: 'pg0', log, run: kernel.run })
  const route = await tunnel.addRoute('10.70.1.3/32')
  await tunnel.addRoute('10.70.1.4/32')
  await route[Symbol.asyncDispose]()
  await route[Symbol.asyncDispose]()
  assert.deepEqual([...link.routes], ['10.70.1.4/32'])
  await tunnel[Symbol.asyncDispose]()
  assert.equal(kernel.log.filter((command) => command.includes('route delete')).length, 2)
})

test('an interface made by us is deleted at the end, known by the index it was given', { skip }, async () => {
  const log = await openLog()
  await NetworkInterface.create({ name: 'pg1', type: 'wireguard', log, run: kernel.run })
  assert.ok((kernel.links.get('pg1')?.index ?? 0) >= 2 ** 24)
  assert.deepEqual(await undoLeftovers(path, kernel), { undone: 1, gone: 0, failed: [] })
  assert.equal(kernel.links.has('pg1'), false)
})

test('a TUN for another program is promised to be deleted before it is made, and nothing is when it is not', {
  skip,
}, async () => {
  const log = await openLog()
  const make = async ({ name, index }: { readonly name: string; readonly index: number }): Promise<void> => {
    assert.match(await readFile(path, 'utf8'), new RegExp(`delete-interface.*"pg2","index":${index}`))
    kernel.add(name, index)
  }
  await NetworkInterface.createTun({ name: 'pg2', log, run: kernel.run, make })
  assert.deepEqual(await undoLeftovers(path, kernel), { undone: 1, gone: 0, failed: [] })
  assert.equal(kernel.links.has('pg2'), false)
  const refuse = (): Promise<void> => Promise.reject(new Error('no driver'))
  await assert.rejects(NetworkInterface.createTun({ name: 'pg3', log, run: kernel.run, make: refuse }), /no driver/)
  assert.deepEqual(await undoLeftovers(path, kernel), { undone: 0, gone: 0, failed: [] })
})

test('an interface that is not there cannot be adopted', { skip }, async () => {
  const log = await openLog()
  await assert.rejects(NetworkInterface.adopt({ name: 'pg9', log, run: kernel.run }), /no interface named pg9/)
})

test('a log that cannot be written is an error with its path', { skip }, async () => {
  await appendFile(path, '')
  await assert.rejects(
    UndoLog.open(join(path, 'undo.jsonl')),
    (error) => error instanceof PunchGuardError && error.code === 'STATE_UNWRITABLE',
  )
})

test('lines that could become other commands are not read', () => {
  const of = { name: 'pg0', index: 7, place: 'here' }
  const line = (undo: object): string => JSON.stringify({ id: 1, undo })
  assert.ok(decodeLogLine(line({ kind: 'set-down', of })) !== undefined)
  const bad = [
    line({ kind: 'set-down', of: { ...of, name: '-batch' } }),
    line({ kind: 'set-down', of: { ...of, name: 'pg0 up' } }),
    line({ kind: 'set-down', of: { ...of, index: '7' } }),
    line({ kind: 'delete-address', of, cidr: '-all' }),
    line({ kind: 'delete-route', of, cidr: 'default' }),
    line({ kind: 'flush', of }),
    JSON.stringify({ id: -1, undo: { kind: 'set-down', of } }),
    '{"done":"1"}',
    '[]',
    'null',
    '',
  ]
  for (const text of bad) assert.equal(decodeLogLine(text), undefined, text)
  const anyLine = fc.property(fc.oneof(fc.string(), fc.json()), (text) => assert.equal(decodeLogLine(text), undefined))
  fc.assert(anyLine, { seed: 1, numRuns: 500 })
})

test('the state of a link is read from what iproute2 and busybox print', () => {
  const iproute2 =
    '9: pg0: <POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP> mtu 1420 qdisc pfifo_fast state UNKNOWN mode DEFAULT qlen 500\\    link/none '
  assert.deepEqual(decodeLink(iproute2), { index: 9, mtu: 1420, up: true })
  const busybox = '12: pg0: <POINTOPOINT,MULTICAST,NOARP> mtu 1500 qdisc noop state DOWN qlen 500\\    link/[65534] '
  assert.deepEqual(decodeLink(busybox), { index: 12, mtu: 1500, up: false })
  assert.equal(decodeLink('Device "pg0" does not exist.'), undefined)
})

const routes = [
  'default via 192.168.1.1 dev eth0',
  '0.0.0.0/1 via 10.8.0.1 dev tun0',
  '10.80.0.0/16 dev docker0 proto kernel scope link src 10.80.0.1',
  '10.96.5.5 dev pg0 scope link',
  'unreachable 10.100.0.0/16 metric 5',
  'local 10.120.7.7 dev eth0 table local proto kernel scope host src 10.120.7.7',
  'broadcast 10.80.255.255 dev docker0 table local proto kernel scope link src 10.80.0.1',
  '192.168.1.0/24 dev eth0 proto kernel scope link src 192.168.1.20 metric 100',
  '',
].join('\n')

test('only routes that claim addresses are looked at', () => {
  assert.deepEqual(decodeRoutes(routes), [
    { cidr: '10.80.0.0/16', via: 'docker0' },
    { cidr: '10.96.5.5/32', via: 'pg0' },
    { cidr: '10.120.7.7/32', via: 'eth0' },
    { cidr: '192.168.1.0/24', via: 'eth0' },
  ])
})

test('a prefix overlaps a live route of another interface, or none', async () => {
  const run = async (): Promise<string> => routes
  const options = { run, ignoreInterfaces: ['pg0'] }
  assert.deepEqual(await overlapsLiveRoute('10.80.3.4/32', options), { cidr: '10.80.0.0/16', via: 'docker0' })
  assert.deepEqual(await overlapsLiveRoute('192.168.0.0/16', options), { cidr: '192.168.1.0/24', via: 'eth0' })
  assert.deepEqual(await overlapsLiveRoute('10.120.7.7/32', options), { cidr: '10.120.7.7/32', via: 'eth0' })
  assert.equal(await overlapsLiveRoute('10.96.5.5/32', options), undefined)
  assert.equal(await overlapsLiveRoute('10.81.0.1/32', options), undefined)
})

test('prefixes overlap when one holds the other, at any length', () => {
  const address = fc.nat({ max: 2 ** 32 - 1 }).map((n) => [24, 16, 8, 0].map((shift) => (n >>> shift) & 255).join('.'))
  const property = fc.property(address, fc.integer({ min: 0, max: 32 }), fc.integer({ min: 0, max: 32 }), (a, m, n) => {
    assert.ok(overlap(`${a}/${m}`, `${a}/${n}`))
  })
  fc.assert(property, { seed: 2, numRuns: 300 })
  assert.equal(overlap('10.0.0.0/9', '10.128.0.0/9'), false)
  assert.equal(overlap('255.255.255.255/32', '255.255.255.254/32'), false)
  assert.equal(overlap('255.255.255.255/32', '0.0.0.0/0'), true)
})

test('a program that fails tells its command and its words, one that is missing what to install', async () => {
  const missing = 'punchguard-no-such-program'
  await assert.rejects(
    runCommand(missing, []),
    (error) => error instanceof PunchGuardError && error.code === 'GUARD_UNAVAILABLE' && error.hint.includes(missing),
  )
  const script = 'process.stderr.write("broken pipe dream\\n"); process.exit(3)'
  await assert.rejects(
    runCommand(process.execPath, ['-e', script]),
    (error) => error instanceof CommandError && error.stderr === 'broken pipe dream\n',
  )
  const echo = 'process.stdin.pipe(process.stdout)'
  assert.equal(await runCommand(process.execPath, ['-e', echo], { input: 'secret' }), 'secret')
})
