import assert from 'node:assert/strict'
import { test } from 'node:test'
import { siteKinds } from './model/kinds.ts'
import { labHelp, parseLabOptions } from './options.ts'

test('without options the lab is two NATs that filter by address and port, 20 ms away, and 64 MiB', () => {
  assert.deepEqual(parseLabOptions([]), {
    kinds: [siteKinds['eim-apdf'], siteKinds['eim-apdf']],
    nat: 'model',
    guards: ['embedded', 'embedded'],
    delay: 20,
    jitter: 0,
    loss: 0,
    rate: Number.MAX_VALUE,
    mtu: 1500,
    bytes: 64 * 2 ** 20,
    json: false,
    verbose: false,
  })
})

test('every option is read, in both spellings', () => {
  const args = [
    '--nat-a=eim/eif',
    '--nat-b',
    'public',
    '--delay',
    '5',
    '--jitter=1.5',
    '--loss=2',
    '--rate=100',
    '--copy=1',
    '--mtu=1400',
    '--guard=wireguard-go',
    '--guard-b',
    'embedded',
  ]
  assert.deepEqual(parseLabOptions([...args, '--nat', 'linux', '--json', '--verbose']), {
    kinds: [siteKinds['eim-eif'], { kind: 'none' }],
    nat: 'linux',
    guards: ['wireguard-go', 'embedded'],
    delay: 5,
    jitter: 1.5,
    loss: 0.02,
    rate: 1e8,
    mtu: 1400,
    bytes: 2 ** 20,
    json: true,
    verbose: true,
  })
  assert.equal(parseLabOptions(['--help', '--json']), 'help')
})

test('what cannot be read is refused with what to do', () => {
  const cases: readonly (readonly [readonly string[], RegExp, RegExp])[] = [
    [['--nat-c', 'x'], /unknown option --nat-c/, /did you mean --nat-[ab]\?/],
    [['--xyzzy'], /unknown option --xyzzy/, /--help/],
    [['-j'], /unknown option -j/, /--help/],
    [['run'], /unexpected argument 'run'/, /--help/],
    [['--nat-a', 'eim-apfd'], /'eim-apfd' is no kind of NAT/, /did you mean 'eim-apdf'\?/],
    [['--nat-b', 'symmetrical'], /is no kind of NAT/, /the names are: public/],
    [['--nat', 'windows'], /'model' or 'linux'/, /--help/],
    [['--delay', '-1'], /--delay is a number from 0 to 2000/, /--help/],
    [['--loss', 'some'], /--loss is a number/, /--help/],
    [['--mtu', '500'], /--mtu is a number from 576 to 1500/, /--help/],
    [['--rate', '0'], /--rate is a number from 0.1/, /--help/],
    [['--copy'], /--copy needs a value/, /--help/],
  ]
  for (const [args, message, hint] of cases) {
    assert.throws(() => parseLabOptions(args), { code: 'USAGE', message, hint }, args.join(' '))
  }
})

test('the help ends with an example that is itself understood', () => {
  const example = labHelp.trim().split('\n').at(-1) ?? ''
  const [, , , ...args] = example.trim().split(' ')
  const options = parseLabOptions(args)
  assert.ok(options !== 'help')
  assert.deepEqual(options.kinds, [siteKinds['apdm-apdf-random'], siteKinds['eim-eif']])
})
