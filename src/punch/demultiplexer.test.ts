import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '../api/endpoint.ts'
import { systemRandom } from '../util/random.ts'
import { StunDemultiplexer, type StunParty, type StunSocket } from './demultiplexer.ts'
import { encodeCheck } from './ice/connectivity-check.ts'
import { encodeMessage } from './stun/message.ts'

const from: Endpoint = { address: '192.0.2.1', port: 1 }

/** A clock with one timer, and a socket with one receiver. */
function surroundings() {
  let receiver: (bytes: Uint8Array, from: Endpoint) => void = () => {}
  const timers: number[] = []
  const state = { now: 0, wake: (): void => {}, receive: (bytes: Uint8Array): void => receiver(bytes, from), timers }
  const clock = {
    now: () => state.now,
    wallTime: () => 0,
    after: (delay: number, wake: () => void) => {
      timers.push(delay)
      state.wake = wake
      return { [Symbol.dispose]: () => {} }
    },
  }
  const socket: StunSocket = {
    port: 1,
    send: () => {},
    route: (_, to) => {
      receiver = to
      return { [Symbol.dispose]: () => {} }
    },
  }
  return { state, demultiplexer: new StunDemultiplexer(socket, clock) }
}

function party(ufrag: string, heard: string[], name = ufrag): StunParty {
  return {
    deadline: undefined,
    tick: () => {},
    answersTo: (named) => named === ufrag,
    claims: () => false,
    receive: () => void heard.push(name),
  }
}

function request(ufrag: string): Uint8Array {
  return encodeCheck({
    transactionId: systemRandom.bytes(12),
    association: { local: { ufrag: 'peer', password: 'p' }, remote: { ufrag, password: 'r' } },
    role: { controlling: true, tieBreaker: 0n },
  })
}

test('a request goes to the one whose ufrag it names, the later one of two, and to nobody once disposed', () => {
  const { state, demultiplexer } = surroundings()
  const heard: string[] = []
  demultiplexer.add(party('one', heard))
  demultiplexer.add(party('two', heard, 'old'))
  const later = demultiplexer.add(party('two', heard, 'new'))
  state.receive(request('one'))
  state.receive(request('two'))
  later[Symbol.dispose]()
  state.receive(request('two'))
  state.receive(request('three'))
  assert.deepEqual(heard, ['one', 'new', 'old'])
  assert.deepEqual(demultiplexer.stats(), { received: 4, parties: 2, dropped: { username: 1 } })
})

test('what is no whole STUN message, has a wrong FINGERPRINT or is for nobody is counted by reason', () => {
  const { state, demultiplexer } = surroundings()
  const heard: string[] = []
  demultiplexer.add(party('one', heard))
  const spoiled = request('one').slice()
  spoiled[spoiled.length - 1] = (spoiled[spoiled.length - 1] ?? 0) ^ 1
  state.receive(spoiled)
  state.receive(new Uint8Array(20))
  const message = { method: 1, transactionId: systemRandom.bytes(12), attributes: [] } as const
  for (const messageClass of ['request', 'success', 'error', 'indication'] as const) {
    state.receive(encodeMessage({ ...message, messageClass }))
  }
  assert.deepEqual(heard, [])
  assert.deepEqual(demultiplexer.stats().dropped, { fingerprint: 1, malformed: 1, username: 1, unmatched: 3 })
})

test('one timer stands at the nearest deadline and wakes only those that are due', () => {
  const { state, demultiplexer } = surroundings()
  const ticked: string[] = []
  const due = (name: string, first: number): StunParty => {
    let deadline: number | undefined = first
    return {
      ...party(name, []),
      get deadline() {
        return deadline
      },
      tick: () => {
        ticked.push(name)
        deadline = undefined
      },
    }
  }
  demultiplexer.add(due('late', 300))
  demultiplexer.add(due('early', 100))
  state.now = 100
  state.wake()
  assert.deepEqual(ticked, ['early'])
  assert.deepEqual(state.timers, [300, 100, 200])
})
