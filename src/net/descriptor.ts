/** The file descriptor under a node:net or node:dgram socket, which Node.js has but does not document. */

/** `undefined` when the socket is closed or not bound yet. */
export function descriptorOf(socket: object): number | undefined {
  // node:dgram keeps its handle in an object under a symbol of its own; its `_handle` works, and prints a warning.
  const state = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol')
  const handle = state === undefined ? member(socket, '_handle') : member(Reflect.get(socket, state), 'handle')
  const fd = member(handle, 'fd')
  return typeof fd === 'number' && fd >= 0 ? fd : undefined
}

function member(of: unknown, name: string): unknown {
  return typeof of === 'object' && of !== null ? Reflect.get(of, name) : undefined
}
