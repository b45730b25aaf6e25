import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { SecretKey } from '../../api/keys.ts'
import { fromHex, toHex } from '../../util/bytes.ts'
import { openTransport, sealTransport } from '../dataplane/transport.ts'
import { seededRandom } from '../testing/virtual-tunnel.ts'
import { CookieChecker, CookieJar } from './cookie.ts'
import { type DhKeyPair, dh, importKeyPair } from './crypto.ts'
import {
  consumeInitiation,
  consumeResponse,
  createInitiation,
  createResponse,
  identifyInitiation,
  type RemoteStatic,
} from './handshake.ts'
import { decodeHandshakeMessage, type Initiation, type Response } from './messages.ts'

/** Hex strings but for the index; `source` says where they come from. */
interface Vectors {
  readonly source: string
  readonly ourSecret: string
  readonly theirSecret: string
  readonly presharedKey: string
  readonly ourEphemeral: string
  readonly ourIndex: number
  readonly weInitiate: Readonly<
    Record<'timestamp' | 'initiation' | 'response' | 'keepalive' | 'transport' | 'packet', string>
  >
  readonly weRespond: Readonly<Record<'timestamp' | 'initiation' | 'response' | 'transport' | 'packet', string>>
}

const file = new URL('../../../../test/vectors/wireguard-go-handshake.json', import.meta.url)
const vectors: Vectors = JSON.parse(readFileSync(file, 'utf8'))

function bytes(hex: string): Uint8Array {
  return fromHex(hex) ?? assert.fail(hex)
}

const us = importKeyPair(bytes(vectors.ourSecret))
const them = importKeyPair(bytes(vectors.theirSecret))

function remote(local: DhKeyPair, publicKey: Uint8Array, presharedKey = bytes(vectors.presharedKey)): RemoteStatic {
  const staticStatic = dh(local, publicKey) ?? assert.fail('low order')
  return { publicKey, staticStatic: new SecretKey(staticStatic), presharedKey: new SecretKey(presharedKey) }
}

function initiationOf(message: Uint8Array): Initiation {
  const decoded = decodeHandshakeMessage(message)
  return decoded?.kind === 'initiation' ? decoded : assert.fail('no initiation')
}

function responseOf(message: Uint8Array): Response {
  const decoded = decodeHandshakeMessage(message)
  return decoded?.kind === 'response' ? decoded : assert.fail('no response')
}

const ownInput = () => ({ sender: vectors.ourIndex, ephemeralSecret: bytes(vectors.ourEphemeral) })

test('our initiation, and the session wireguard-go made of it', () => {
  const { timestamp, initiation, response, keepalive, transport, packet } = vectors.weInitiate
  const theirs = remote(us, them.publicKey)
  const { message, sent } = createInitiation(us, theirs, { ...ownInput(), timestamp: bytes(timestamp) })
  new CookieJar(them.publicKey).setMacs(message, 0)
  assert.equal(toHex(message), initiation)
  const received = bytes(response)
  assert.ok(new CookieChecker(us.publicKey, seededRandom(1)).hasValidMac1(received))
  const keys = consumeResponse(us, theirs, { sent, message: responseOf(received) })
  assert.ok(keys !== undefined)
  const datagram = new Uint8Array(32)
  const remoteIndex = responseOf(received).sender
  sealTransport(datagram, new Uint8Array(0), { key: keys.sendKey.reveal(), remoteIndex, counter: 0, mtu: 1420 })
  assert.equal(toHex(datagram), keepalive)
  const opened = openTransport(bytes(transport), keys.receiveKey.reveal())
  assert.equal(toHex(opened ?? assert.fail('not opened')), packet)
})

test("our response to wireguard-go's initiation, and the packet it sent with it", () => {
  const { timestamp, initiation, response, transport, packet } = vectors.weRespond
  const received = bytes(initiation)
  assert.ok(new CookieChecker(us.publicKey, seededRandom(1)).hasValidMac1(received))
  const identified = identifyInitiation(us, initiationOf(received)) ?? assert.fail('not identified')
  assert.deepEqual(identified.initiator, them.publicKey)
  const theirs = remote(us, them.publicKey)
  const consumed = consumeInitiation(identified, theirs, initiationOf(received)) ?? assert.fail('not consumed')
  assert.equal(toHex(consumed.timestamp), timestamp)
  const { message, keys } = createResponse(theirs, consumed, ownInput()) ?? assert.fail('no response')
  new CookieJar(them.publicKey).setMacs(message, 0)
  assert.equal(toHex(message), response)
  const opened = openTransport(bytes(transport), keys.receiveKey.reveal())
  assert.equal(toHex(opened ?? assert.fail('not opened')), packet)
})

test('another pre-shared key on one side fails at the response, and the initiator can go on waiting', () => {
  const { timestamp } = vectors.weInitiate
  const theirs = remote(us, them.publicKey)
  const { message, sent } = createInitiation(us, theirs, { ...ownInput(), timestamp: bytes(timestamp) })
  const respond = (presharedKey: Uint8Array): Uint8Array => {
    const ours = remote(them, us.publicKey, presharedKey)
    const identified = identifyInitiation(them, initiationOf(message)) ?? assert.fail('not identified')
    const consumed = consumeInitiation(identified, ours, initiationOf(message)) ?? assert.fail('not consumed')
    const own = { sender: 9, ephemeralSecret: new Uint8Array(32).fill(8) }
    return createResponse(ours, consumed, own)?.message ?? assert.fail('no response')
  }
  const wrong = responseOf(respond(new Uint8Array(32)))
  assert.equal(consumeResponse(us, theirs, { sent, message: wrong }), undefined)
  const right = responseOf(respond(bytes(vectors.presharedKey)))
  assert.ok(consumeResponse(us, theirs, { sent, message: right }) !== undefined)
})

test('points of low order are refused, not used', () => {
  for (const first of [0, 1]) {
    const low = new Uint8Array(32)
    low[0] = first
    assert.equal(dh(us, low), undefined)
    const message: Initiation = { ...initiationOf(bytes(vectors.weRespond.initiation)), ephemeral: low }
    assert.equal(identifyInitiation(us, message), undefined)
  }
})
