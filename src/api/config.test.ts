import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { configKeys, defaultMtu, parseConfig, renderDefaultConfig, withDeviceName } from './config.ts'
import { PunchGuardError } from './errors.ts'

const key = 'AB'.repeat(32)

function parse(text: string) {
  return parseConfig(text, { hostName: 'Anna’s laptop.home.example' })
}

function refused(text: string): PunchGuardError {
  try {
    parse(text)
  } catch (error) {
    assert.ok(error instanceof PunchGuardError)
    assert.equal(error.code, 'CONFIG_INVALID')
    assert.ok(error.hint.length > 0)
    assert.doesNotMatch(error.message + error.hint, /\n/)
    return error
  }
  assert.fail(`accepted: ${text}`)
}

test('an empty file gives a device that works on the open Internet', () => {
  const config = parse('')
  assert.equal(config.name, 'Anna-s-laptop')
  assert.deepEqual([config.port, config.interface, config.mtu, config.toxPort], [0, 'pg0', defaultMtu, 0])
  assert.deepEqual(config.addresses, [])
  assert.ok(config.bootstrap.length >= 12)
  assert.ok(config.stun.length >= 4)
  for (const node of config.bootstrap) assert.equal(node.key.length, 32)
  assert.equal(new Set(config.bootstrap.map((node) => node.host)).size, config.bootstrap.length)
})

test('the default file says what an empty one means, and names every key', () => {
  const text = renderDefaultConfig()
  assert.deepEqual(parse(text), parse(''))
  for (const name of configKeys) assert.match(text, new RegExp(`^# (\\[\\[)?${name}\\b`, 'm'))
  assert.ok(configKeys.length <= 12)
})

test('the default file stays valid when its example values are switched on', () => {
  const text = renderDefaultConfig()
    .replace(/^# (?=(port|interface|addresses|mtu|guard|stun|tox_port|\[\[bootstrap\]\]|host|udp|tcp|key)\b)/gm, '')
    .replace(/^# (?=\[\[bootstrap\]\])/m, '')
  const config = parse(text)
  assert.equal(config.bootstrap.length, 1)
  assert.deepEqual({ ...config, bootstrap: [] }, { ...parse(''), bootstrap: [] })
})

test('a closed network is reached by configuration alone', () => {
  const config = parse(`
name = "home"
port = 51820
addresses = ["10.9.0.1", "fd00::1"]
mtu = 1280
stun = ["203.0.113.1:3478", "[2001:db8::1]:3478"]
tox_port = 33446
[[bootstrap]]
host = "203.0.113.2"
key = "${key}"
[[bootstrap]]
host = "node.example"
udp = 443
tcp = [443, 3389]
key = "${key.toLowerCase()}"
`)
  assert.equal(config.name, 'home')
  assert.deepEqual(config.addresses, ['10.9.0.1', 'fd00::1'])
  assert.deepEqual(config.stun[1], { host: '2001:db8::1', port: 3478 })
  const bytes = new Uint8Array(32).fill(0xab)
  assert.deepEqual(config.bootstrap, [
    { host: '203.0.113.2', udp: 33_445, tcp: [], key: bytes },
    { host: 'node.example', udp: 443, tcp: [443, 3389], key: bytes },
  ])
})

test('setting the name changes the name and nothing else', () => {
  const before = parse(renderDefaultConfig())
  assert.deepEqual(parse(withDeviceName(undefined, 'home')), { ...before, name: 'home' })
  assert.deepEqual(
    parse(withDeviceName(`mtu = 1300\nname="a"\n[[bootstrap]]\nhost = "b"\nkey="${key}"`, 'home')).name,
    'home',
  )
  const inBlock = withDeviceName(`[[bootstrap]]\nhost = "b"\nkey = "${key}"`, 'home')
  assert.deepEqual([parse(inBlock).name, parse(inBlock).bootstrap[0]?.host], ['home', 'b'])
})

test('an unknown key is refused with its line and the nearest name', () => {
  const error = refused('name = "home"\nprot = 51820\n')
  assert.equal(error.message, 'config.toml: line 2: unknown key "prot"')
  assert.equal(error.hint, 'did you mean "port"?')
  assert.match(refused('frobnicate = 1').hint, /the keys are: name, port, /)
  const nested = refused(`[[bootstrap]]\nhost = "a"\nkey = "${key}"\n[[bootstrap]]\nhots = "b"\nkey = "${key}"`)
  assert.equal(nested.message, 'config.toml: line 5: unknown key "bootstrap[2].hots"')
  assert.equal(nested.hint, 'did you mean "host"?')
})

test('a value of the wrong kind is refused with the key and its line', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['port = "x"', /^config\.toml: line 1: port must be a number$/],
    ['port = 70000', /line 1: port must be a whole number between 0 and 65535/],
    ['port = 1.5', /line 1: port must be a whole number/],
    ['mtu = 9000', /line 1: mtu must be a whole number between 1280 and 1420/],
    ['mtu = nan', /line 1: mtu must be/],
    ['\n\nname = "a b"', /line 3: name must be 1 to 32 letters/],
    ['name = ""', /line 1: name must be/],
    ['interface = "this-name-is-too-long"', /line 1: interface must be an interface name/],
    ['interface = "../etc"', /interface must be/],
    ['addresses = ["10.0.0.1/24"]', /line 1: addresses\[1\] must be an IPv4 or IPv6 address/],
    ['addresses = ["10.0.0.256"]', /addresses\[1\]/],
    ['addresses = "10.0.0.1"', /addresses must be a list/],
    ['guard = "tinc"', /guard must be one of "embedded", "kernel", "wireguard-go", "openvpn"/],
    ['stun = ["stun.example"]', /line 1: stun\[1\] must be "host:port"/],
    ['stun = ["stun.example:0"]', /stun\[1\] must be "host:port"/],
    ['[[bootstrap]]\nhost = "a"', /line 1: bootstrap\[1\]\.key is missing/],
    ['[[bootstrap]]\nhost = "a"\nkey = "12"', /line 3: bootstrap\[1\]\.key must be a public key/],
    [`[[bootstrap]]\nhost = "a b"\nkey = "${key}"`, /line 2: bootstrap\[1\]\.host must be a host name/],
    ['bootstrap = [1]', /line 1: bootstrap\[1\] must be a block of keys/],
    ['[port]\nx = 1', /line 1: port must be a number/],
  ]
  for (const [text, expected] of cases) assert.match(refused(text).message, expected, text)
})

test('text that is not TOML is refused with the line', () => {
  assert.match(refused('name = "home\n').message, /^config\.toml: line 1: /)
  assert.match(refused('name = "a"\nname = "b"\n').message, /^config\.toml: line 2: /)
  assert.match(refused('\n\n= 1').message, /^config\.toml: line 3: /)
})

test('no text makes the parser throw anything but its own error', () => {
  const words = fc.constantFrom(
    'name',
    'port',
    '=',
    '"',
    '[',
    ']',
    '[[bootstrap]]',
    '\n',
    '1',
    '{',
    '}',
    '.',
    "'''",
    '#',
    '\0',
  )
  const text = fc.oneof(
    fc.string(),
    fc.array(words, { maxLength: 30 }).map((parts) => parts.join(' ')),
  )
  void fc.assert(
    fc.property(text, (input) => {
      try {
        parse(input)
      } catch (error) {
        assert.ok(error instanceof PunchGuardError, String(error))
      }
    }),
    { numRuns: 500, seed: 7 },
  )
})
