/** The conditions of the devices and NATs changing (restarts, new addresses), for every pair of NAT kinds that lets a path through. */

import { test } from 'node:test'
import { conditions, runCondition } from './conditions.ts'
import { natPairs, passable } from './nat-pairs.ts'

for (const condition of conditions.slice(4)) {
  for (const [at, nats] of natPairs.filter(([a, b]) => passable(a, b)).entries()) {
    test(`${condition.name}: ${nats.join(' and ')}`, () => runCondition(condition, { nats, seed: at }))
  }
}
