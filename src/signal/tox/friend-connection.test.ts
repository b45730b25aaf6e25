import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes, toUtf8 } from '../../util/bytes.ts'
import { customPacket, FriendConnection, messagePacket } from './friend-connection.ts'

const online = Uint8Array.of(24)

function meetingAt(now: number): FriendConnection {
  const friend = new FriendConnection()
  assert.deepEqual(friend.confirmed(now), [{ kind: 'packet', packet: online }])
  return friend
}

test('a friend is online once it has said so, however often it says it', () => {
  const friend = meetingAt(0)
  assert.equal(friend.online, false)
  assert.deepEqual(friend.receive(online, 10), [{ kind: 'online' }])
  assert.deepEqual(friend.receive(online, 20), [])
  assert.equal(friend.online, true)
})

test('texts before ONLINE are dropped, after it they are delivered', () => {
  const friend = meetingAt(0)
  const message = messagePacket('hello') ?? assert.fail()
  assert.deepEqual(friend.receive(message, 10), [])
  friend.receive(online, 20)
  assert.deepEqual(friend.receive(message, 30), [{ kind: 'message', text: 'hello' }])
  assert.deepEqual(friend.receive(concatBytes(Uint8Array.of(64), Uint8Array.of(0xff)), 40), [])
  assert.equal(friend.dropped, 2)
})

test('custom packets of both kinds pass, all other kinds are taken in silence', () => {
  const friend = meetingAt(0)
  friend.receive(online, 0)
  for (const id of [160, 191, 200, 254]) {
    const packet = Uint8Array.of(id, 1)
    assert.deepEqual(friend.receive(packet, 1), [{ kind: 'custom', packet }])
  }
  for (const id of [16, 17, 18, 48, 49, 50, 51, 69, 81, 100, 192, 199]) {
    assert.deepEqual(friend.receive(Uint8Array.of(id, 1), 1), [])
  }
  assert.equal(friend.dropped, 0)
})

test('alive goes out every 8 s, and 32 s without a packet end the connection', () => {
  const friend = meetingAt(0)
  friend.receive(online, 0)
  let alive = 0
  for (let end = false; !end; ) {
    const at = friend.deadline ?? assert.fail()
    for (const effect of friend.tick(at)) {
      if (effect.kind === 'packet') alive += 1
      if (effect.kind !== 'kill') continue
      assert.equal(at, 32_000)
      end = true
    }
  }
  assert.equal(alive, 3)
})

test('a friend that says OFFLINE, or whose connection ends, is offline once', () => {
  const friend = meetingAt(0)
  friend.receive(online, 0)
  assert.deepEqual(friend.receive(Uint8Array.of(25), 1), [{ kind: 'offline', reason: 'it removed this device' }])
  assert.deepEqual(friend.closed('gone'), [])
  assert.equal(friend.deadline, undefined)
})

test('texts and custom packets have 1372 bytes at most, texts at least one', () => {
  assert.equal(messagePacket('x'.repeat(1_372))?.length, 1_373)
  assert.equal(messagePacket('ü'.repeat(687)), undefined)
  assert.equal(messagePacket(''), undefined)
  assert.equal(customPacket(160, toUtf8('x'.repeat(1_373))), undefined)
  assert.equal(customPacket(159, Uint8Array.of(1)), undefined)
  assert.equal(customPacket(192, Uint8Array.of(1)), undefined)
  assert.deepEqual(customPacket(160, Uint8Array.of(1)), Uint8Array.of(160, 1))
})
