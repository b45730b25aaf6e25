import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { AllowedIps, maskedPrefix, type Prefix, parsePrefix } from './allowed-ips.ts'

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text)
  assert.ok(parsed !== undefined, text)
  return parsed
}

function owner(allowedIps: AllowedIps<string>, address: string): string | undefined {
  const { bytes } = prefix(address)
  const padded = Uint8Array.of(9, 9, ...bytes)
  return bytes.length === 4 ? allowedIps.lookupIpv4(padded, 2) : allowedIps.lookupIpv6(padded, 2)
}

test('the longest prefix decides, in each family of its own', () => {
  const allowedIps = new AllowedIps<string>()
  const routes: readonly [string, string][] = [
    ['0.0.0.0/0', 'everyone'],
    ['10.64.0.0/10', 'us'],
    ['10.64.1.2/32', 'one'],
    ['10.64.1.0/24', 'net'],
    ['fd70:6775:6172::/48', 'six'],
    ['fd70:6775:6172::1/128', 'one six'],
  ]
  for (const [text, name] of routes) allowedIps.insert(prefix(text), name)
  assert.equal(owner(allowedIps, '10.64.1.2'), 'one')
  assert.equal(owner(allowedIps, '10.64.1.3'), 'net')
  assert.equal(owner(allowedIps, '10.127.255.255'), 'us')
  assert.equal(owner(allowedIps, '10.128.0.0'), 'everyone')
  assert.equal(owner(allowedIps, 'fd70:6775:6172::1'), 'one six')
  assert.equal(owner(allowedIps, 'fd70:6775:6172::2'), 'six')
  assert.equal(owner(allowedIps, 'fd70:6775:6173::2'), undefined)
})

test('a prefix given to a second owner moves, and an owner goes with all of its prefixes', () => {
  const allowedIps = new AllowedIps<string>()
  allowedIps.insert(prefix('10.0.0.0/24'), 'a')
  allowedIps.insert(prefix('10.0.0.0/24'), 'b')
  allowedIps.insert(prefix('10.0.0.128/25'), 'a')
  assert.equal(owner(allowedIps, '10.0.0.1'), 'b')
  assert.equal(owner(allowedIps, '10.0.0.129'), 'a')
  allowedIps.removeOwner('a')
  assert.equal(owner(allowedIps, '10.0.0.129'), 'b')
  allowedIps.removeOwner('b')
  assert.equal(owner(allowedIps, '10.0.0.1'), undefined)
})

test('host bits are cleared, an address alone is all of itself, and nonsense is none', () => {
  assert.deepEqual(prefix('10.1.2.3/12'), { bytes: Uint8Array.of(10, 0, 0, 0), length: 12 })
  assert.deepEqual(prefix('10.1.2.3'), { bytes: Uint8Array.of(10, 1, 2, 3), length: 32 })
  assert.equal(prefix('fd00::1').length, 128)
  for (const text of ['', 'host', '10.0.0.0/33', 'fd00::/129', '10.0.0.0/-1', '10.0.0.0/x', '::g'])
    assert.equal(parsePrefix(text), undefined, text)
})

/** The slow twin: a list that is searched to its end. */
class PrefixList {
  #entries: { readonly prefix: Prefix; readonly owner: string }[] = []

  insert(added: Prefix, owner: string): void {
    const isSame = (other: Prefix): boolean => other.length === added.length && covers(other, added.bytes)
    this.#entries = [...this.#entries.filter((entry) => !isSame(entry.prefix)), { prefix: added, owner }]
  }

  removeOwner(owner: string): void {
    this.#entries = this.#entries.filter((entry) => entry.owner !== owner)
  }

  lookup(address: Uint8Array): string | undefined {
    const fitting = this.#entries.filter((entry) => covers(entry.prefix, address))
    return fitting.sort((a, b) => b.prefix.length - a.prefix.length)[0]?.owner
  }
}

function covers({ bytes, length }: Prefix, address: Uint8Array): boolean {
  return Buffer.compare(maskedPrefix(address, length).bytes, bytes) === 0
}

for (const size of [4, 16]) {
  test(`it finds what a list would find, with addresses of ${size} bytes`, () => {
    // Few different bytes, so that prefixes share beginnings.
    const address = fc
      .array(fc.constantFrom(0, 1, 0x80, 0xff), { minLength: size, maxLength: size })
      .map((bytes) => Uint8Array.from(bytes))
    const someOwner = fc.constantFrom('a', 'b', 'c')
    const routes = fc.array(fc.tuple(address, fc.nat(size * 8), someOwner), { maxLength: 30 })
    const property = fc.property(routes, fc.array(address, { maxLength: 30 }), someOwner, (all, addresses, leaving) => {
      const fast = new AllowedIps<string>()
      const slow = new PrefixList()
      const compare = (): void => {
        for (const one of [...addresses, ...all.map(([bytes]) => bytes)]) {
          const found = size === 4 ? fast.lookupIpv4(one, 0) : fast.lookupIpv6(one, 0)
          assert.equal(found, slow.lookup(one))
        }
      }
      for (const [bytes, length, name] of all) {
        fast.insert(maskedPrefix(bytes, length), name)
        slow.insert(maskedPrefix(bytes, length), name)
      }
      compare()
      fast.removeOwner(leaving)
      slow.removeOwner(leaving)
      compare()
    })
    fc.assert(property, { numRuns: 60 })
  })
}
