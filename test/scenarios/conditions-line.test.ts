/** The conditions of the line (loss, reordering, duplicates), for every pair of NAT kinds that lets a path through. */

import { test } from 'node:test'
import { conditions, runCondition } from './conditions.ts'
import { natPairs, passable } from './nat-pairs.ts'

for (const condition of conditions.slice(0, 4)) {
  for (const [at, nats] of natPairs.filter(([a, b]) => passable(a, b)).entries()) {
    test(`${condition.name}: ${nats.join(' and ')}`, () => runCondition(condition, { nats, seed: at }))
  }
}
