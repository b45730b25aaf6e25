/** A path after it was opened: how its death is noticed, how it follows a peer that moves, how it counts. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '../../src/api/endpoint.ts'
import type { IcePath } from '../../src/punch/path.ts'
import { connect, createLab, createPuncher, eim, type Lab, restrictive, Watched } from './lab.ts'
import { exchangePair } from './virtual-network.ts'

function losses(lab: Lab, ...paths: readonly IcePath[]): readonly Watched<string>[] {
  return paths.map((path) => new Watched(path.lost, lab.clock))
}

test('a path that is cut while idle is lost on both sides within 5 s, whenever that happens', async () => {
  for (let wait = 0; wait <= 6000; wait += 370) {
    const lab = createLab({ a: restrictive, b: restrictive })
    const { a, b } = await connect(lab)
    const [lostA, lostB] = losses(lab, a, b)
    await lab.clock.advance(wait)
    lab.b.socket.unplugged = true
    const cutAt = lab.clock.now()
    await lab.clock.advance(5000)
    for (const lost of [lostA, lostB]) {
      assert.ok(lost?.settled, `cut after ${wait} ms`)
      assert.ok((lost.at ?? 0) - cutAt <= 5000)
    }
    assert.match(lostA?.value ?? '', /^no answer from 203\.0\.113\.2:\d+ for [1-4]\.\d s$/)
  }
})

test('a check finds a dead path within 1.6 s and says since when there was no answer', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  const { a } = await connect(lab)
  const [lost] = losses(lab, a)
  lab.b.socket.unplugged = true
  await lab.clock.advance(200)
  const checkedAt = lab.clock.now()
  const { sent } = lab.a.socket
  a.check()
  a.check()
  await lab.clock.advance(1600)
  assert.equal(lost?.at, checkedAt + 1600)
  assert.match(lost?.value ?? '', /for 1\.8 s$/)
  // One now and one every 200 ms.
  assert.equal(lab.a.socket.sent - sent, 8)
})

test('a check of a living path costs one round trip and changes nothing', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  const { a, b } = await connect(lab)
  const [lostA, lostB] = losses(lab, a, b)
  const { sent } = lab.a.socket
  a.check()
  await lab.clock.advance(1000)
  assert.equal(lab.a.socket.sent - sent, 1)
  await lab.clock.advance(60_000)
  assert.equal(lostA?.settled || lostB?.settled, false)
})

test('on an idle path the controlling side asks every 3 s and the controlled side never', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  const { a, b } = await connect(lab)
  const { carried } = lab.network
  await lab.clock.advance(30_000)
  assert.equal(a.stats().probesSent, 9)
  assert.equal(b.stats().probesSent, 0)
  assert.equal(lab.network.carried - carried, 18)
})

test('an idle path survives 20 % loss for ten minutes', async () => {
  const lab = createLab({ a: restrictive, b: restrictive, seed: 4 })
  const { a, b } = await connect(lab)
  lab.network.weather = { delay: 20, loss: 0.2, jitter: 30, duplicates: 0.1 }
  const [lostA, lostB] = losses(lab, a, b)
  await lab.clock.advance(600_000)
  assert.equal(lostA?.settled || lostB?.settled, false)
})

test('when only one direction is dead, the side whose probes go unanswered finds out, though it hears the peer', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  const { a, b } = await connect(lab)
  const [lostA] = losses(lab, a, b)
  const cutAt = lab.clock.now()
  lab.network.pass = (_, { to }) => to.address !== lab.b.socket.outsideAddress
  await lab.clock.advance(8000)
  assert.ok(lostA?.settled)
  assert.ok((lostA.at ?? 0) - cutAt <= 6500, `${(lostA.at ?? 0) - cutAt} ms`)
})

test('the round trip is smoothed over the probes', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  const { a } = await connect(lab)
  assert.equal(a.status().roundTrip, 40)
  lab.network.weather = { delay: 60 }
  a.check()
  await lab.clock.advance(200)
  assert.equal(a.status().roundTrip, 40 + (120 - 40) / 8)
})

test('a path follows its peer to the endpoint a rebound NAT gives it, when our filter lets it through', async () => {
  for (const mover of ['a', 'b'] as const) {
    const lab = createLab({ a: eim('endpoint-independent'), b: eim('endpoint-independent') })
    const paths = await connect(lab)
    const stays = mover === 'a' ? paths.b : paths.a
    const [lostA, lostB] = losses(lab, paths.a, paths.b)
    const moves: Endpoint[] = []
    stays.subscribe((remote) => moves.push(remote))
    const before = stays.status().remote
    lab[mover].socket.nat?.rebind()
    await lab.clock.advance(5000)
    assert.equal(moves.length, 1, `${mover} moved`)
    assert.notDeepEqual(moves[0], before)
    assert.deepEqual(stays.status().remote, moves[0])
    await lab.clock.advance(30_000)
    assert.equal(lostA?.settled || lostB?.settled, false)
    assert.equal(moves.length, 1)
    // The one that was moved learns its new address from the answers.
    const moved = mover === 'a' ? paths.a : paths.b
    moved.check()
    await lab.clock.advance(100)
    assert.deepEqual(moved.status().mapped, stays.status().remote)
  }
})

test('a path whose peer is heard once from elsewhere stays where it is', async () => {
  const lab = createLab({ a: restrictive, b: undefined })
  const { a, b } = await connect(lab)
  const moves: Endpoint[] = []
  b.subscribe((remote) => moves.push(remote))
  // A replayed request of the peer's, from an address that answers nothing.
  let request: Uint8Array | undefined
  lab.network.pass = (bytes, { to }) => {
    if (bytes[0] === 0 && bytes[1] === 1 && to.address === lab.b.socket.address) request = bytes.slice()
    return true
  }
  await lab.clock.advance(3500)
  assert.ok(request)
  const { sent } = lab.b.socket
  lab.b.socket.arrive(request, {
    from: { address: '203.0.113.99', port: 9 },
    to: { address: '', port: lab.b.socket.port },
  })
  await lab.clock.advance(20_000)
  assert.deepEqual(moves, [])
  // An answer, a probe there every 200 ms for 1.6 s, one probe of the old endpoint, and the answers of 20 s.
  assert.ok(lab.b.socket.sent - sent < 20, `${lab.b.socket.sent - sent} datagrams`)
  assert.equal(a.status().roundTrip, 40)
})

test('several peers are served on one socket, each with its own path', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  const others = [3, 4, 5].map((seed) => {
    const socket = lab.network.addHost(seed === 4 ? undefined : restrictive)
    return { socket, puncher: createPuncher(lab.clock, socket, seed * 10) }
  })
  const signal = new AbortController().signal
  const pairs = [{ socket: lab.b.socket, puncher: lab.b.puncher }, ...others].map((other, index) => {
    const [ours, theirs] = exchangePair(lab.clock, 50)
    const controlling = index % 2 === 0
    return {
      near: new Watched(lab.a.puncher.open({ exchange: ours, controlling, signal }), lab.clock),
      far: new Watched(other.puncher.open({ exchange: theirs, controlling: !controlling, signal }), lab.clock),
      socket: other.socket,
    }
  })
  const all = pairs.flatMap(({ near, far }) => [near, far])
  assert.equal(await lab.clock.until(() => all.every((one) => one.settled), 2000), true)
  for (const { near, far, socket } of pairs) {
    assert.equal(near.value?.status().remote.address, socket.outsideAddress)
    assert.equal(far.value?.status().remote.address, lab.a.socket.outsideAddress)
  }
  // One goes silent, the others stay.
  const lost = new Watched(pairs[1]?.near.value?.lost ?? Promise.reject(new Error('no path')), lab.clock)
  const staying = new Watched(pairs[2]?.near.value?.lost ?? Promise.reject(new Error('no path')), lab.clock)
  const silent = pairs[1]?.socket
  if (silent !== undefined) silent.unplugged = true
  await lab.clock.advance(10_000)
  assert.equal(lost.settled, true)
  assert.equal(staying.settled, false)
})

test('a disposed path falls silent, and its peer finds that out', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  const { a, b } = await connect(lab)
  const [lostA, lostB] = losses(lab, a, b)
  await a[Symbol.asyncDispose]()
  await lab.clock.advance(5000)
  assert.equal(lostA?.settled, false)
  assert.equal(lostB?.settled, true)
})
