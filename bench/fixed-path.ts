/** A path that nobody punched: the peer is where it is said to be, and stays there. */

import type { Endpoint } from '../src/api/endpoint.ts'
import type { Path } from '../src/api/roles.ts'

export function fixedPath(remote: Endpoint): Path {
  return {
    status: () => ({ kind: 'cached', remote, mapped: undefined, roundTrip: 0 }),
    lost: new Promise(() => {}),
    subscribe: () => ({ [Symbol.dispose]: () => {} }),
    check: () => {},
    acceptResume: () => ({ [Symbol.dispose]: () => {} }),
    [Symbol.asyncDispose]: async () => {},
  }
}
