import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { PunchGuardError } from '../../api/errors.ts'
import { SecretKey, tunnelPublicKey } from '../../api/keys.ts'
import { PolledGuard } from '../polled-guard.ts'
import { presharedKey } from '../testing/two-devices.ts'
import { VirtualClock, VirtualPath } from '../testing/virtual-tunnel.ts'
import { importKeyPair } from '../wireguard/crypto.ts'
import { KernelDevice, type NetlinkFamily, WireguardGoneError } from './kernel-device.ts'
import { decodeMessages, type RequestWriter } from './netlink.ts'

const vectors = JSON.parse(
  readFileSync(new URL('../../../../test/vectors/wireguard-netlink.json', import.meta.url), 'utf8'),
)
const privateKey = new Uint8Array(32).fill(0x11)
const keyOfB = tunnelPublicKey(new Uint8Array(32).fill(1))

/** Writes down what it is told, and reads as Linux did once: two peers, of which the first has the key 01. */
class FakeNetlink implements NetlinkFamily {
  readonly family = 32
  readonly memory: Uint8Array = new Uint8Array(4096)
  readonly requests: string[] = []
  gets = 0
  errno = 0
  isDamaged = false

  exchange(request: RequestWriter, onPart: (payload: Uint8Array) => void): number {
    const bytes = request.finish(1)
    const isGet = bytes[16] === 0
    if (isGet) this.gets++
    else this.requests.push(Buffer.from(bytes.subarray(20)).toString('hex'))
    if (this.errno === 0 && isGet) {
      const answer = decodeMessages(new Uint8Array(Buffer.from(vectors.deviceAnswer[0], 'hex')))
      onPart(answer?.[0]?.payload.subarray(0, this.isDamaged ? 100 : undefined) ?? new Uint8Array(0))
    }
    this.memory.fill(0)
    return this.errno
  }
}

function makeDevice(): { device: KernelDevice; netlink: FakeNetlink } {
  const netlink = new FakeNetlink()
  const describe = (errno: number): string => `error ${errno}`
  const device = new KernelDevice({ interfaceName: 'pg0', implementation: 'Linux 6.1', netlink, describe })
  return { device, netlink }
}

test('the kernel is told the key and the port, and its peers are read', async () => {
  const { device, netlink } = makeDevice()
  await device.set({ privateKey: new SecretKey(privateKey), listenPort: 4711 })
  assert.equal(netlink.requests.length, 1)
  assert.match(
    netlink.requests[0] ?? '',
    new RegExp('^0800020070673000' + '24000300(11){32}' + '06000600' + '67120000$'),
  )
  const table = await device.get()
  assert.deepEqual([...table.keys()], ['01'.repeat(32), '02'.repeat(32)])
  assert.deepEqual(device.status, { dataPlane: 'kernel', implementation: 'Linux 6.1', offloads: [] })
})

test('what the kernel refuses is said with what to do about it', async () => {
  const { device, netlink } = makeDevice()
  const refusals: readonly (readonly [errno: number, code: string, hint: RegExp])[] = [
    [98, 'ADDRESS_IN_USE', /another port/],
    [19, 'GUARD_UNAVAILABLE', /start again/],
    [1, 'GUARD_UNAVAILABLE', /as root/],
  ]
  for (const [errno, code, hint] of refusals) {
    netlink.errno = errno
    await assert.rejects(device.set({ listenPort: 4711 }), (error: unknown) => {
      assert.ok(error instanceof PunchGuardError)
      assert.equal(error instanceof WireguardGoneError, errno === 19)
      return error.code === code && hint.test(error.hint)
    })
  }
  netlink.errno = 0
  netlink.isDamaged = true
  await assert.rejects(device.get(), /cannot be read/)
})

test('a guard on it puts its peers in with their path, reads them, and takes them out again', async () => {
  const { device, netlink } = makeDevice()
  const clock = new VirtualClock()
  const guard = new PolledGuard({ kind: 'kernel', device, clock, privateKey: new SecretKey(privateKey) })
  assert.deepEqual([guard.kind, guard.interfaceName, guard.parameters.length], ['kernel', 'pg0', 0])
  assert.equal(guard.status().dataPlane, 'kernel')
  assert.ok(keyOfB !== undefined)
  const options = { publicKey: keyOfB, presharedKey: presharedKey(1), allowedIps: ['10.64.0.2/32'] }
  const peer = await guard.addPeer(options)
  await assert.rejects(guard.addPeer(options), { code: 'PEER_EXISTS' })
  const ownKey = tunnelPublicKey(importKeyPair(privateKey).publicKey)
  assert.ok(ownKey !== undefined)
  await assert.rejects(guard.addPeer({ ...options, publicKey: ownKey }), { code: 'PEER_EXISTS' })
  await assert.rejects(guard.addPeer({ ...options, publicKey: ownKey, allowedIps: ['x'] }), { code: 'CONFIG_INVALID' })
  assert.equal(netlink.requests.length, 0)

  peer.use(new VirtualPath({ address: '127.0.0.1', port: 4000 }), { initiate: true })
  for (let at = 0; at < 10; at++) {
    clock.pass(10)
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.equal(netlink.requests.length, 1, 'removed and added in one request')
  assert.match(netlink.requests[0] ?? '', /0800030001000000.*06000500ffff0000/)
  assert.ok(netlink.gets >= 1)
  assert.deepEqual(peer.stats().endpoint, { address: '127.0.0.1', port: 4000 })
  assert.equal(peer.stats().sentBytes, 148)

  await guard[Symbol.asyncDispose]()
  assert.equal(netlink.requests.length, 2)
  assert.match(netlink.requests[1] ?? '', /(01){32}0800030001000000$/)
  assert.equal(clock.timerCount, 0)
})
