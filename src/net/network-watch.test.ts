import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../util/clock.ts'
import { defaultRoutes, NetworkWatch } from './network-watch.ts'

/** Virtual time; `sleep` moves the wall without the monotonic clock, as Linux does in suspend. */
class HandClock implements Clock {
  #now = 0
  #asleep = 0
  #timers: { at: number; wake: () => void }[] = []
  now = (): number => this.#now
  wallTime = (): number => this.#now + this.#asleep

  after(delay: number, wake: () => void): Disposable {
    const timer = { at: this.#now + delay, wake }
    this.#timers.push(timer)
    return {
      [Symbol.dispose]: () => {
        this.#timers = this.#timers.filter((other) => other !== timer)
      },
    }
  }

  advance(duration: number): void {
    const end = this.#now + duration
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0]
      if (next === undefined) break
      this.#timers = this.#timers.filter((timer) => timer !== next)
      this.#now = next.at
      next.wake()
    }
    this.#now = end
  }

  sleep(duration: number): void {
    this.#asleep += duration
  }

  get timers(): number {
    return this.#timers.length
  }
}

function start(): { clock: HandClock; watch: NetworkWatch; set: (snapshot: string) => void; changes: () => number } {
  const clock = new HandClock()
  let [snapshot, changes] = ['10.0.0.2', 0]
  const watch = new NetworkWatch({ clock, snapshot: () => snapshot, changed: () => void changes++ })
  const set = (next: string): void => {
    snapshot = next
  }
  return { clock, watch, set, changes: () => changes }
}

test('a change is noticed within two seconds without any hint, once', () => {
  const { clock, set, changes } = start()
  clock.advance(60_000)
  assert.equal(changes(), 0)
  set('10.0.0.3')
  clock.advance(2000)
  assert.equal(changes(), 1)
  clock.advance(60_000)
  assert.equal(changes(), 1)
})

test('a burst of hints gives one look, when it has settled', () => {
  const { clock, watch, set, changes } = start()
  set('')
  watch.hint()
  clock.advance(100)
  set('192.0.2.4')
  watch.hint()
  clock.advance(149)
  assert.equal(changes(), 0)
  clock.advance(1)
  assert.equal(changes(), 1)
})

test('a hint after which everything is as before changes nothing', () => {
  const { clock, watch, changes } = start()
  watch.hint()
  clock.advance(10_000)
  assert.equal(changes(), 0)
})

test('waking from sleep counts as a change though the addresses are the same', () => {
  const { clock, changes } = start()
  clock.advance(10_000)
  clock.sleep(2000)
  clock.advance(2000)
  assert.equal(changes(), 0)
  clock.sleep(600_000)
  clock.advance(2000)
  assert.equal(changes(), 1)
  clock.advance(20_000)
  assert.equal(changes(), 1)
})

test('nothing is looked at after disposal', () => {
  const { clock, watch } = start()
  watch.hint()
  watch[Symbol.dispose]()
  assert.equal(clock.timers, 0)
})

test('default routes are found in the kernel table, without ours and without others', () => {
  const table = [
    'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT',
    'wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0',
    'eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0',
    'eth0\t0000000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0',
    'pg0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0',
    '',
  ].join('\n')
  assert.deepEqual(defaultRoutes(table, ['pg0']), ['eth0 0100000A', 'wlan0 0101A8C0'])
  assert.deepEqual(defaultRoutes('', []), [])
})
