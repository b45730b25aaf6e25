import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { PunchGuardError } from '../api/errors.ts'
import { NetworkInterface } from './interface.ts'
import { decodeIfconfig, decodeNetstat, decodeRouteAnswer, macosCommands, macosNetwork } from './macos-network.ts'
import type { InterfaceChange } from './network-commands.ts'
import { CommandError } from './run-command.ts'
import { liveNetworks, overlapsLiveRoute } from './system-network.ts'
import { UndoLog, undoLeftovers } from './undo-log.ts'

const changes: readonly (readonly [InterfaceChange, string])[] = [
  [{ kind: 'add-address', cidr: '10.70.1.2/32' }, '/sbin/ifconfig utun3 inet 10.70.1.2/32 10.70.1.2 alias'],
  [{ kind: 'add-address', cidr: 'fd70::1/128' }, '/sbin/ifconfig utun3 inet6 fd70::1/128 alias'],
  [{ kind: 'delete-address', cidr: '10.70.1.2/32' }, '/sbin/ifconfig utun3 inet 10.70.1.2 -alias'],
  [{ kind: 'delete-address', cidr: 'fd70::1/128' }, '/sbin/ifconfig utun3 inet6 fd70::1 -alias'],
  [{ kind: 'set-mtu', mtu: 1420 }, '/sbin/ifconfig utun3 mtu 1420'],
  [{ kind: 'set-up' }, '/sbin/ifconfig utun3 up'],
  [{ kind: 'set-down' }, '/sbin/ifconfig utun3 down'],
  [
    { kind: 'add-route', cidr: '10.70.1.3/32', mtu: undefined },
    '/sbin/route -n add -inet 10.70.1.3/32 -interface utun3',
  ],
  [
    { kind: 'add-route', cidr: 'fd70::2/128', mtu: 1300 },
    '/sbin/route -n add -inet6 fd70::2/128 -interface utun3 -mtu 1300',
  ],
  [
    { kind: 'change-route', cidr: '10.70.1.3/32', mtu: undefined },
    '/sbin/route -n change -inet 10.70.1.3/32 -interface utun3 -mtu 0',
  ],
  [{ kind: 'delete-route', cidr: '10.70.1.3/32' }, '/sbin/route -n delete -inet 10.70.1.3/32 -interface utun3'],
]

test('each change is one plain list of arguments', () => {
  for (const [change, expected] of changes) {
    const [command, ...more] = macosCommands('utun3', change)
    assert.deepEqual([command?.join(' '), more], [expected, []])
  }
  assert.deepEqual(macosCommands('utun3', { kind: 'delete-interface' }), [])
})

test('names and prefixes that could become other arguments are never given on', () => {
  for (const name of ['-a', 'utun3 up', '', 'utun3;', 'x'.repeat(16)])
    for (const [change] of changes) assert.throws(() => macosCommands(name, change), name)
  for (const cidr of ['-inet', '10.0.0.1', 'default', '10.0.0.1/32 up', '10.0.0.1/-1', '10.0.0.1/1000'])
    for (const kind of ['add-address', 'delete-address', 'delete-route'] as const)
      assert.throws(() => macosCommands('utun3', { kind, cidr }), cidr)
})

// The first from a current system, the second with the counters that older ones print.
const routes = [
  'Routing tables',
  '',
  'Internet:',
  'Destination        Gateway            Flags               Netif Expire',
  'default            192.168.8.1        UGScg                 en0       ',
  'default            link#24            UCSIg               utun6       ',
  '10.20/16           link#22            UCS                 utun4       ',
  '10.70.1.3          10.70.1.2          UH                  utun3       ',
  '127                127.0.0.1          UCS                   lo0       ',
  '127.0.0.1          127.0.0.1          UH                    lo0       ',
  '128.0/1            10.8.0.1           UGSc                utun5       ',
  '169.254            link#14            UCS                   en0      !',
  '172.16.32/20       link#14            UCS                   en0      !',
  '192.168.8          link#14            UCS                   en0      !',
  '192.168.8.1        c:ea:14:0:0:1      UHLWIir               en0   1185',
  '224.0.0/4          link#14            UmCS                  en0      !',
  '255.255.255.255/32 link#14            UCS                   en0      !',
  '',
].join('\n')

test('destinations are read with the zeros that netstat leaves out', () => {
  assert.deepEqual(decodeNetstat(routes), [
    { cidr: '10.20.0.0/16', via: 'utun4' },
    { cidr: '10.70.1.3/32', via: 'utun3' },
    { cidr: '127.0.0.0/8', via: 'lo0' },
    { cidr: '127.0.0.1/32', via: 'lo0' },
    { cidr: '169.254.0.0/16', via: 'en0' },
    { cidr: '172.16.32.0/20', via: 'en0' },
    { cidr: '192.168.8.0/24', via: 'en0' },
    { cidr: '192.168.8.1/32', via: 'en0' },
  ])
})

test('the columns are found by their heads: older systems count users in two more', () => {
  const older = [
    'Destination        Gateway            Flags        Refs      Use   Netif Expire',
    'default            172.16.32.3        UGSc           47        0     en0',
    '172.16.32/24       link#4             UCS            11        0     en0',
    '172.16.32.1        0:25:90:38:94:4    UHLWIir        49       26     en0   1160',
  ].join('\n')
  assert.deepEqual(decodeNetstat(older), [
    { cidr: '172.16.32.0/24', via: 'en0' },
    { cidr: '172.16.32.1/32', via: 'en0' },
  ])
  const inet6 = [
    'Internet6:',
    'Destination                             Gateway                         Flags         Netif Expire',
    'default                                 fe80::1%en0                     UGcg            en0',
    '::1                                     ::1                             UHL             lo0',
    '2001:db8:1111:1::/64                    link#20                         UC              en8',
    'fe80::%lo0/64                           fe80::1%lo0                     UcI             lo0',
    'fe80::1%lo0                             link#1                          UHLI            lo0',
    'ff00::/8                                ::1                             UmCI            lo0',
    'fd70:6775:6172::5                       link#24                         UHL           utun3',
  ].join('\n')
  assert.deepEqual(decodeNetstat(inet6), [
    { cidr: '::1/128', via: 'lo0' },
    { cidr: '2001:db8:1111:1::/64', via: 'en8' },
    { cidr: 'fd70:6775:6172::5/128', via: 'utun3' },
  ])
})

test('live routes are those of other interfaces than ours', async () => {
  const run = async (program: string, args: readonly string[]): Promise<string> => {
    assert.equal(program, '/usr/sbin/netstat')
    return args.at(-1) === 'inet' ? routes : ''
  }
  const network = { ...macosNetwork, hasIpv6: () => true }
  const live = await liveNetworks({ run, network, isOurs: (name) => name === 'utun3' })
  assert.ok(live.includes('10.20.0.0/16') && !live.includes('10.70.1.3/32'))
  const found = await overlapsLiveRoute('10.20.9.9/32', { run, network })
  assert.deepEqual(found, { cidr: '10.20.0.0/16', via: 'utun4' })
  assert.equal(await overlapsLiveRoute('10.70.1.3/32', { run, network, ignoreInterfaces: ['utun3'] }), undefined)
})

test('route says in words what its status does not', () => {
  assert.equal(decodeRouteAnswer('add net 10.70.1.3: gateway utun3\n'), undefined)
  assert.equal(decodeRouteAnswer('add net fd70::2: gateway utun3\n'), undefined)
  assert.equal(decodeRouteAnswer('add net 10.70.1.3: gateway utun3: File exists\n'), 'File exists')
  assert.equal(decodeRouteAnswer('delete host fd70::2: gateway utun3: not in table\n'), 'not in table')
  assert.equal(decodeRouteAnswer('delete net 10.70.1.3: not in table\n'), 'not in table')
  assert.equal(decodeRouteAnswer(''), undefined)
})

test('the state of an interface is read from what ifconfig prints', () => {
  const text = [
    'utun3: flags=8051<UP,POINTOPOINT,RUNNING,MULTICAST> mtu 1380 index 17',
    '\teflags=5002080<TXSTART,NOAUTOIPV6LL,ECN_ENABLE>',
    '\tinet6 fd70::1 prefixlen 128',
  ].join('\n')
  assert.deepEqual(decodeIfconfig(text), { index: 17, mtu: 1380, up: true })
  const down = 'utun4: flags=8010<POINTOPOINT,MULTICAST> mtu 1500\n'
  assert.deepEqual(decodeIfconfig(down), { index: 1, mtu: 1500, up: false })
  assert.equal(decodeIfconfig('ifconfig: interface utun9 does not exist'), undefined)
})

test('no text makes a decoder throw', () => {
  const line = fc.oneof(fc.string(), fc.constantFrom(...routes.split('\n')))
  const property = fc.property(fc.array(line), (lines) => {
    for (const { cidr } of decodeNetstat(lines.join('\n'))) assert.match(cidr, /\/\d+$/)
    decodeIfconfig(lines.join('\n'))
    decodeRouteAnswer(lines.join('\n'))
  })
  fc.assert(property, { seed: 3, numRuns: 200 })
})

test('what is set is taken back in reverse; what another process has set is gone with its interface', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'punchguard-net-'))
  const log: string[] = []
  let answer = ''
  const run = async (program: string, args: readonly string[]): Promise<string> => {
    if (args[0] === '-v') return 'utun3: flags=8051<UP,POINTOPOINT> mtu 1420 index 17\n'
    log.push([program.replace(/.*\//, ''), ...args].join(' '))
    return program.endsWith('route') ? answer : ''
  }
  const parts = { run, network: macosNetwork }
  const undoLog = await UndoLog.open(join(folder, 'undo'), parts)
  const tunnel = await NetworkInterface.adopt({ name: 'utun3', log: undoLog, ...parts })
  await tunnel.setMtu(1420)
  await tunnel.addAddress('10.70.1.2/32')
  await tunnel.setUp()
  await tunnel.addRoute('10.70.1.3/32', { mtu: 1380 })
  await tunnel.changeRoute('10.70.1.3/32', { mtu: 1300 })
  answer = 'add net 10.70.1.4: gateway utun3: File exists\n'
  await assert.rejects(
    tunnel.addRoute('10.70.1.4/32'),
    (error) => error instanceof PunchGuardError && error.message.endsWith('File exists'),
  )
  const other = { ...macosNetwork, place: () => 'a later process' }
  assert.deepEqual(await undoLeftovers(join(folder, 'undo'), { run, network: other }), {
    undone: 0,
    gone: 3,
    failed: [],
  })
  answer = ''
  const before = log.length
  await tunnel[Symbol.asyncDispose]()
  assert.deepEqual(log.slice(before), [
    'route -n delete -inet 10.70.1.3/32 -interface utun3',
    'ifconfig utun3 down',
    'ifconfig utun3 inet 10.70.1.2 -alias',
  ])
  await undoLog[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

test('an interface that is not there is told from one that may not be changed', async () => {
  const gone = new CommandError('ifconfig', 'ifconfig: interface utun9 does not exist\n')
  const run = (error: Error) => async (): Promise<string> => {
    throw error
  }
  assert.equal(await macosNetwork.findLink('utun9', run(gone)), undefined)
  const refused = new CommandError('ifconfig', 'ifconfig: ioctl (SIOCAIFADDR): Operation not permitted\n')
  const explained = macosNetwork.explained(refused)
  assert.ok(explained instanceof PunchGuardError && explained.code === 'PERMISSION_DENIED')
})
