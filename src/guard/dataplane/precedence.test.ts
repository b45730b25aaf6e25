import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Precedence } from './precedence.ts'

/** Looks every 100 ms at a thread that runs and waits for these shares of the time. */
class Watched {
  readonly precedence: Precedence = new Precedence()
  #now = 5_000
  #ran = 700
  #waited = 90

  look(ran: number, waited: number, isAnswered = true): boolean {
    this.#now += 100
    this.#ran += ran * 100
    this.#waited += waited * 100
    return this.precedence.weigh(this.#now, { ran: this.#ran, waited: this.#waited }, isAnswered)
  }
}

function raised(): Watched {
  const watched = new Watched()
  while (!watched.precedence.isRaised) watched.look(0.5, 0.5)
  return watched
}

test('a thread that is always at work and waits for long goes before others at the third look', () => {
  const watched = new Watched()
  watched.look(0.5, 0.5)
  assert.deepEqual([watched.look(0.6, 0.4), watched.precedence.isRaised], [false, false])
  assert.deepEqual([watched.look(0.4, 0.5), watched.precedence.isRaised], [false, false])
  assert.deepEqual([watched.look(0.6, 0.35), watched.precedence.isRaised], [true, true])
})

test('the first look has nothing to compare with', () => {
  const watched = new Watched()
  for (const _ of [1, 2, 3]) assert.equal(watched.look(0.5, 0.5), false)
  assert.equal(watched.look(0.5, 0.5), true)
})

for (const [what, ran, waited, isAnswered] of [
  ['that waits for a sixth of what it wants', 0.83, 0.17, true],
  ['that seldom has work', 0.3, 0.3, true],
  ['that waits, and does little', 0.1, 0.9, true],
  ['whose packets nobody answers', 0.5, 0.5, false],
] as const) {
  test(`a thread ${what} stays where it is`, () => {
    const watched = new Watched()
    for (let look = 0; look < 50; look++) assert.equal(watched.look(ran, waited, isAnswered), false)
  })
}

test('looks must be in a row', () => {
  const watched = new Watched()
  for (let look = 0; look < 50; look++) assert.equal(watched.look(0.5, look % 3 === 0 ? 0.1 : 0.5), false)
})

test('a thread that goes before others waits less, and stays there while it is mostly at work', () => {
  const watched = raised()
  for (let look = 0; look < 50; look++) assert.equal(watched.look(0.55, 0.01), false)
})

for (const [what, ran, waited, isAnswered] of [
  ['has less to do', 0.3, 0.1, true],
  ['carries what nobody answers', 0.6, 0.4, false],
] as const) {
  test(`a thread that goes before others and ${what} is like others after a second`, () => {
    const watched = raised()
    for (let look = 0; look < 9; look++) assert.equal(watched.look(ran, waited, isAnswered), false)
    assert.deepEqual([watched.look(ran, waited, isAnswered), watched.precedence.isRaised], [true, false])
  })
}

test('without traffic a thread is like others at once', () => {
  const watched = raised()
  assert.deepEqual([watched.precedence.rest(), watched.precedence.isRaised], [true, false])
  assert.equal(watched.precedence.rest(), false)
})

test('a look that follows too soon is told', () => {
  const precedence = new Precedence()
  assert.equal(precedence.isEarly(0), false)
  precedence.weigh(0, { ran: 0, waited: 0 }, true)
  assert.equal(precedence.isEarly(49), true)
  assert.equal(precedence.isEarly(50), false)
})
