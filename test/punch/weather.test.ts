/** Punches over a bad network, and between sides that do not begin together. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect, createLab, punch, restrictive } from './lab.ts'

test('two filtering NATs connect through 20 % loss, reordering and duplicates, twenty times of twenty', async () => {
  const times: number[] = []
  for (let seed = 1; seed <= 20; seed++) {
    const weather = { delay: 20, loss: 0.2, duplicates: 0.2, jitter: 60 }
    const lab = createLab({ a: restrictive, b: restrictive, seed, weather })
    const { a, b } = await punch(lab, { limit: 8000 })
    assert.ok(a.value && b.value, `seed ${seed}`)
    times.push(Math.max(a.at ?? 0, b.at ?? 0))
  }
  times.sort((x, y) => x - y)
  assert.ok((times[10] ?? 0) < 1000, `median ${times[10]} ms`)
})

test('a side whose first checks the other filter ate is met as soon as the other side sends', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  // What b says of itself takes 200 ms longer: until then b checks in vain, because a's filter has seen nothing leave.
  lab.b.exchange.loses = (message) => {
    lab.clock.after(250, () => lab.a.exchange.deliver(message))
    return true
  }
  const { a, b } = await punch(lab, { limit: 6000 })
  assert.ok(a.value && b.value)
  // a learns of b's reflexive candidate at 290 ms; its first check opens its own filter and passes b's.
  assert.ok(Math.max(a.at ?? 0, b.at ?? 0) <= 290 + 120, `${a.at} and ${b.at} ms`)
})

for (const skew of [100, 500, 1000, 2000, 5000]) {
  test(`a side that begins ${skew} ms later is met within half a second of its beginning`, async () => {
    for (const [a, b] of [
      [restrictive, restrictive],
      [undefined, restrictive],
    ] as const) {
      const lab = createLab({ a, b })
      const paths = await punch(lab, { skew, limit: 8000 })
      assert.ok(paths.a.value && paths.b.value)
      const took = Math.max(paths.a.at ?? 0, paths.b.at ?? 0) - skew
      assert.ok(took < 500, `${took} ms`)
    }
  })
}

test('a description that the signal network lost is said again', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  lab.a.exchange.loses = () => lab.clock.now() < 1000
  lab.b.exchange.loses = () => lab.clock.now() < 1000
  const { a, b } = await punch(lab, { limit: 8000 })
  assert.ok(a.value && b.value)
  assert.ok((a.at ?? 0) > 4000 && (a.at ?? 0) < 4600, `${a.at} ms`)
})

test('a punch that waits alone for five minutes is still ready for the peer, at a small price', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  lab.b.socket.unplugged = true
  const opened = punch(lab, { limit: 300_000 })
  const { a, b } = await opened
  assert.equal(a.settled || b.settled, false)
  // Two candidates of the peer, each checked once a second, and the STUN requests at the start.
  assert.ok(lab.a.socket.sent < 750, `${lab.a.socket.sent} datagrams`)
  lab.b.socket.unplugged = false
  assert.equal(await lab.clock.until(() => a.settled && b.settled, 7000), true)
})

test('without loss, two public hosts need seven datagrams each for a path', async () => {
  const lab = createLab()
  await connect(lab)
  await lab.clock.advance(1000)
  // Each: two STUN requests, an ordinary and a triggered check, two answers; then the nomination and its answer.
  assert.deepEqual([lab.a.socket.sent, lab.b.socket.sent], [7, 7])
})

test('a router that comes back after a break is asked for our address again', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  lab.network.pass = (_, { to }) => !to.address.startsWith('198.51.100.') || lab.clock.now() > 4000
  const { a, b } = await punch(lab, { limit: 20_000 })
  assert.ok(a.value && b.value)
  assert.ok((a.at ?? 0) < 9500, `${a.at} ms`)
})

test('a change of network while punching is gathered and told at once', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  // After 1050 ms the next retransmission would be at 2250 ms.
  lab.network.pass = (_, { to }) => !to.address.startsWith('198.51.100.') || lab.clock.now() > 1200
  const { a, b } = await punch(lab, { limit: 1250 })
  assert.equal(a.settled || b.settled, false)
  lab.a.socket.networkChanged()
  lab.b.socket.networkChanged()
  assert.equal(await lab.clock.until(() => a.settled && b.settled, 300), true)
})
