/** The metric of the DHT: the XOR of two keys as a 256-bit big-endian number. */

/** Negative when `a` is closer to `key` than `b`, 0 when they are equal, else positive. */
export function compareDistance(key: Uint8Array, a: Uint8Array, b: Uint8Array): number {
  for (let at = 0; at < 32; at += 1) {
    const order = ((a[at] ?? 0) ^ (key[at] ?? 0)) - ((b[at] ?? 0) ^ (key[at] ?? 0))
    if (order !== 0) return order
  }
  return 0
}

/** The number of leading bits in which two keys agree, 0..256. */
export function commonBits(a: Uint8Array, b: Uint8Array): number {
  for (let at = 0; at < 32; at += 1) {
    const difference = (a[at] ?? 0) ^ (b[at] ?? 0)
    if (difference !== 0) return at * 8 + Math.clz32(difference) - 24
  }
  return 256
}

/** The `count` closest to `key`, closest first. */
export function closest<Node extends { readonly publicKey: Uint8Array }>(
  nodes: Iterable<Node>,
  key: Uint8Array,
  count: number,
): Node[] {
  const best: Node[] = []
  for (const node of nodes) {
    let at = best.length
    while (at > 0 && compareDistance(key, node.publicKey, best[at - 1]?.publicKey ?? key) < 0) at -= 1
    if (at >= count) continue
    best.splice(at, 0, node)
    if (best.length > count) best.pop()
  }
  return best
}
