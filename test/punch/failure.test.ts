/** What a caller learns when there is no path. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PunchGuardError } from '../../src/api/errors.ts'
import { createLab, type Lab, restrictive, Watched } from './lab.ts'
import type { NatBehaviour } from './virtual-network.ts'

const timeout = new PunchGuardError('TIMEOUT', 'no path in 15 s', { hint: '' })
const unpredictable: NatBehaviour = { mapping: 'address-and-port-dependent', filtering: 'address-and-port-dependent' }

async function fail(lab: Lab, options: { readonly alone?: boolean; readonly reason?: unknown } = {}): Promise<unknown> {
  const controller = new AbortController()
  const { signal } = controller
  const a = new Watched(lab.a.puncher.open({ exchange: lab.a.exchange, controlling: true, signal }), lab.clock)
  if (options.alone !== true) {
    lab.b.puncher.open({ exchange: lab.b.exchange, controlling: false, signal }).catch(() => {})
  }
  await lab.clock.advance(15_000)
  controller.abort(options.reason ?? timeout)
  await lab.clock.advance(0)
  return a.error
}

function noPath(error: unknown): PunchGuardError {
  assert.ok(error instanceof PunchGuardError)
  assert.equal(error.code, 'PUNCH_NO_PATH')
  return error
}

test('two NATs that cannot be punched: what was tried is counted, and a forwarded port is the way out', async () => {
  const error = noPath(await fail(createLab({ a: unpredictable, b: restrictive })))
  assert.match(
    error.message,
    /^no path in 15 s: \d\d checks sent to 2 candidates of the peer, 0 answered, 0 checks of the peer received, 1 address and 2 seen by STUN servers offered$/,
  )
  assert.match(error.hint, /forward a UDP port/)
  assert.equal(error.cause, timeout)
})

test('a peer that says nothing, blocked UDP, and a peer that is heard only are told apart', async () => {
  const alone = noPath(await fail(createLab(), { alone: true }))
  assert.match(alone.hint, /the peer sent no candidates/)
  const blocked = createLab({ a: restrictive, b: restrictive })
  blocked.a.socket.unplugged = true
  assert.match(noPath(await fail(blocked)).hint, /no STUN server answered/)
  const oneWay = createLab()
  oneWay.network.pass = (_, { to }) => to.address !== oneWay.b.socket.address
  assert.match(noPath(await fail(oneWay)).hint, /the peer is heard but does not answer/)
})

test('an abort for another reason throws that reason itself, also when it came before the call', async () => {
  const reason = new Error('the device stops')
  assert.equal(await fail(createLab({ a: unpredictable, b: restrictive }), { reason }), reason)
  const lab = createLab()
  const signal = AbortSignal.abort(reason)
  await assert.rejects(lab.a.puncher.open({ exchange: lab.a.exchange, controlling: true, signal }), reason)
  assert.equal(lab.a.socket.sent, 0)
})

test('the time-out of AbortSignal.timeout is one too', async () => {
  const reason = new DOMException('The operation timed out', 'TimeoutError')
  assert.match(
    noPath(await fail(createLab(), { alone: true, reason })).message,
    /^no path to the peer: 0 checks sent to 0 candidates/,
  )
})

test('a puncher that is closed ends what is under way and falls silent', async () => {
  const lab = createLab()
  const signal = new AbortController().signal
  const opened = new Watched(lab.a.puncher.open({ exchange: lab.a.exchange, controlling: true, signal }), lab.clock)
  await lab.clock.advance(100)
  await lab.a.puncher[Symbol.asyncDispose]()
  const { sent } = lab.a.socket
  await lab.clock.advance(60_000)
  assert.match(noPath(opened.error).message, /closed/)
  assert.equal(lab.a.socket.sent, sent)
})

test('a STUN server whose name does not resolve is no obstacle', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  let asked = 0
  const resolve = lab.a.socket.host.resolve
  Object.assign(lab.a.socket.host, {
    resolve: async (name: string) => {
      asked++
      return name === '198.51.100.1' && lab.clock.now() < 5000 ? undefined : resolve(name)
    },
  })
  const signal = new AbortController().signal
  const a = new Watched(lab.a.puncher.open({ exchange: lab.a.exchange, controlling: true, signal }), lab.clock)
  await lab.clock.advance(7000)
  // Two names at once, the one that failed again after 3 and 6 s.
  assert.equal(asked, 4)
  const b = new Watched(lab.b.puncher.open({ exchange: lab.b.exchange, controlling: false, signal }), lab.clock)
  assert.equal(await lab.clock.until(() => a.settled && b.settled, 1000), true)
})
