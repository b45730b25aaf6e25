import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { PunchGuardError } from '../api/errors.ts'
import { NetworkInterface } from './interface.ts'
import type { InterfaceChange } from './network-commands.ts'
import { CommandError } from './run-command.ts'
import { overlapsLiveRoute } from './system-network.ts'
import { UndoLog, undoLeftovers } from './undo-log.ts'
import { decodeInterfaces, decodeShowRoute, windowsCommands, windowsNetwork } from './windows-network.ts'

const program = 'C:\\Windows\\System32\\netsh.exe'
const v4 = 'interface ipv4'
const v6 = 'interface ipv6'

const changes: readonly (readonly [InterfaceChange, readonly string[]])[] = [
  [
    { kind: 'add-address', cidr: '10.70.1.2/32' },
    [
      `${v4} set interface interface=pg0 dadtransmits=0 store=active`,
      `${v4} add address name=pg0 address=10.70.1.2 mask=255.255.255.255 store=active`,
    ],
  ],
  [
    { kind: 'add-address', cidr: 'fd70::1/128' },
    [
      `${v6} set interface interface=pg0 dadtransmits=0 store=active`,
      `${v6} add address interface=pg0 address=fd70::1/128 store=active`,
    ],
  ],
  [{ kind: 'delete-address', cidr: '10.70.1.2/20' }, [`${v4} delete address name=pg0 address=10.70.1.2 store=active`]],
  [
    { kind: 'delete-address', cidr: 'fd70::1/128' },
    [`${v6} delete address interface=pg0 address=fd70::1 store=active`],
  ],
  [
    { kind: 'add-route', cidr: '10.70.1.3/32', mtu: 1300 },
    [`${v4} add route prefix=10.70.1.3/32 interface=pg0 nexthop=0.0.0.0 metric=1 store=active`],
  ],
  [
    { kind: 'delete-route', cidr: 'fd70::2/128' },
    [`${v6} delete route prefix=fd70::2/128 interface=pg0 nexthop=:: store=active`],
  ],
  [
    { kind: 'set-mtu', mtu: 1200 },
    [
      `${v4} set subinterface interface=pg0 mtu=1200 store=active`,
      `${v6} set subinterface interface=pg0 mtu=1280 store=active`,
    ],
  ],
  [{ kind: 'change-route', cidr: '10.70.1.3/32', mtu: 1300 }, []],
  [{ kind: 'set-up' }, []],
  [{ kind: 'set-down' }, []],
  [{ kind: 'delete-interface' }, []],
]

test('each change is a list of plain arguments for netsh, by its whole path', () => {
  for (const [change, expected] of changes) {
    const commands = windowsCommands('pg0', change, { hasIpv6: true })
    for (const [name, ...args] of commands) {
      assert.equal(name, program)
      // Nothing that a command line of Windows would have to quote.
      for (const arg of args) assert.match(arg, /^[a-z0-9=.:/]+$/i)
    }
    assert.deepEqual(
      commands.map(([, ...args]) => args.join(' ')),
      expected,
    )
  }
})

test('a netmask has as many bits as the prefix', () => {
  const masks = ['10.0.0.1/8', '10.0.0.1/20', '10.0.0.1/32', '10.0.0.1/0'].map((cidr) =>
    windowsCommands('pg0', { kind: 'add-address', cidr }, { hasIpv6: false })[1]?.at(-2),
  )
  assert.deepEqual(masks, ['mask=255.0.0.0', 'mask=255.255.240.0', 'mask=255.255.255.255', 'mask=0.0.0.0'])
})

test('names and prefixes that could become other arguments are never given on', () => {
  const options = { hasIpv6: true }
  for (const name of ['Ethernet 2', 'pg0 store=persistent', '"', '', 'pg0&x', '-pg0', 'pg0\\'])
    for (const [change] of changes) assert.throws(() => windowsCommands(name, change, options), name)
  for (const cidr of ['10.0.0.1', '10.0.0.1/32 x', '10.0.0.1/32&', 'all/32', '/32'])
    for (const kind of ['add-address', 'delete-address', 'delete-route'] as const)
      assert.throws(() => windowsCommands('pg0', { kind, cidr }, options), cidr)
})

const interfaces = [
  '',
  'Idx     Met         MTU          State                Name',
  '---  ----------  ----------  ------------  ---------------------------',
  '  1          75  4294967295  connected     Loopback Pseudo-Interface 1',
  ' 16           5        1420  connected     pg0',
  ' 33          25        1500  disconnected  pg0 2',
  '  4          35        1500  connected     Ethernet 2',
  '',
].join('\r\n')

test('an interface is found by its whole name', () => {
  assert.deepEqual(decodeInterfaces(interfaces, 'pg0'), { index: 16, mtu: 1420, up: true })
  assert.deepEqual(decodeInterfaces(interfaces, 'pg0 2'), { index: 33, mtu: 1500, up: false })
  for (const name of ['pg', 'Ethernet', '2', 'Name', '']) assert.equal(decodeInterfaces(interfaces, name), undefined)
})

const routes = [
  'Publish  Type      Met  Prefix                    Idx  Gateway/Interface Name',
  '-------  --------  ---  ------------------------  ---  ------------------------',
  'No       Manual    0    0.0.0.0/0                   4  192.168.1.1',
  'No       System    256  10.8.0.0/24                31  OtherVPN',
  'No       Manual    1    10.70.1.3/32               16  pg0',
  'No       Manual    5    10.90.0.0/16                4  192.168.1.254',
  'No       System    256  127.0.0.0/8                 1  Loopback Pseudo-Interface 1',
  'Nein     System    256  172.29.192.0/20            39  vEthernet (WSL)',
  'No       System    256  192.168.1.0/24              4  Ethernet 2',
  'No       System    256  224.0.0.0/4                 1  Loopback Pseudo-Interface 1',
  'No       System    256  255.255.255.255/32          4  Ethernet 2',
  '',
].join('\r\n')

test('routes are read in any language, with the interface or, behind a gateway, without', () => {
  assert.deepEqual(decodeShowRoute(routes), [
    { cidr: '10.8.0.0/24', via: 'OtherVPN' },
    { cidr: '10.70.1.3/32', via: 'pg0' },
    { cidr: '10.90.0.0/16', via: undefined },
    { cidr: '127.0.0.0/8', via: 'Loopback Pseudo-Interface 1' },
    { cidr: '172.29.192.0/20', via: 'vEthernet (WSL)' },
    { cidr: '192.168.1.0/24', via: 'Ethernet 2' },
  ])
  const inet6 = [
    'No       Manual    256   ::/0                      49   fe80::11ff:fe11:1111',
    'No       System    256   ::1/128                    1   Loopback Pseudo-Interface 1',
    'No       Manual    256   2001:db8:1111:1::/64      49   Ethernet 6',
    'No       System    256   ff00::/8                  49   Ethernet 6',
  ].join('\r\n')
  assert.deepEqual(decodeShowRoute(inet6), [
    { cidr: '::1/128', via: 'Loopback Pseudo-Interface 1' },
    { cidr: '2001:db8:1111:1::/64', via: 'Ethernet 6' },
  ])
})

test('an address in a network of this machine is found', async () => {
  const run = async (): Promise<string> => routes
  const options = { run, network: windowsNetwork, ignoreInterfaces: ['pg0'] }
  assert.deepEqual(await overlapsLiveRoute('10.8.0.9/32', options), { cidr: '10.8.0.0/24', via: 'OtherVPN' })
  assert.equal(await overlapsLiveRoute('10.70.1.3/32', options), undefined)
})

test('no text makes a decoder throw', () => {
  const line = fc.oneof(fc.string(), fc.constantFrom(...routes.split('\n'), ...interfaces.split('\n')))
  const property = fc.property(fc.array(line), fc.string(), (lines, name) => {
    for (const { cidr } of decodeShowRoute(lines.join('\n'))) assert.match(cidr, /\/\d+$/)
    decodeInterfaces(lines.join('\n'), name)
  })
  fc.assert(property, { seed: 4, numRuns: 200 })
})

/** As much of Windows as has one adapter with an MTU. */
class FakeNetsh {
  readonly log: string[] = []
  mtu = 65_535

  readonly run = async (_program: string, args: readonly string[]): Promise<string> => {
    const command = args.join(' ')
    if (command.endsWith('show interfaces')) return interfaces.replace('1420', String(this.mtu))
    this.log.push(command)
    const mtu = /ipv4 set subinterface .* mtu=(\d+)/.exec(command)?.[1]
    if (mtu !== undefined) this.mtu = Number(mtu)
    return ''
  }
}

test('routes have no MTU: the interface has the least of theirs, and its own again without them', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'punchguard-net-'))
  const netsh = new FakeNetsh()
  const parts = { run: netsh.run, network: windowsNetwork }
  const log = await UndoLog.open(join(folder, 'undo'), parts)
  const tunnel = await NetworkInterface.adopt({ name: 'pg0', log, ...parts })
  await tunnel.setMtu(1420)
  const mtus: number[] = [netsh.mtu]
  const first = await tunnel.addRoute('10.70.1.3/32', { mtu: 1400 })
  mtus.push(netsh.mtu)
  const second = await tunnel.addRoute('10.70.1.4/32', { mtu: 1300 })
  mtus.push(netsh.mtu)
  await tunnel.changeRoute('10.70.1.4/32', { mtu: undefined })
  mtus.push(netsh.mtu)
  await tunnel.changeRoute('10.70.1.3/32', { mtu: 1500 })
  mtus.push(netsh.mtu)
  await first[Symbol.asyncDispose]()
  await second[Symbol.asyncDispose]()
  mtus.push(netsh.mtu)
  assert.deepEqual(mtus, [1420, 1400, 1300, 1400, 1420, 1420])
  const other = { ...parts, network: { ...windowsNetwork, place: () => 'a later process' } }
  assert.equal((await undoLeftovers(join(folder, 'undo'), other)).undone, 0)
  await tunnel[Symbol.asyncDispose]()
  assert.equal(netsh.mtu, 65_535)
  await log[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

test('a refusal says to be an administrator', () => {
  const refusal = 'The requested operation requires elevation (Run as administrator).\r\n'
  const explained = windowsNetwork.explained(new CommandError('netsh', refusal))
  assert.ok(explained instanceof PunchGuardError && explained.code === 'PERMISSION_DENIED')
  assert.ok(windowsNetwork.isGone(new CommandError('netsh', 'Element not found.\r\n')))
  assert.ok(!windowsNetwork.isGone(new CommandError('netsh', refusal)))
})
