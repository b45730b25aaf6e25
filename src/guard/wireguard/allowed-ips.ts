/**
 * Cryptokey routing, whitepaper §2: which peer an inner address belongs to, by the longest prefix. Two binary tries, one
 * for each family, in which chains of nodes with one child are one node. The same prefix given to a second peer moves.
 */

import { ipaddr } from '../../util/ipaddr.ts'

/** A CIDR prefix: 4 or 16 address bytes with the host bits zero, and how many bits count. */
export interface Prefix {
  readonly bytes: Uint8Array
  readonly length: number
}

/** `10.64.1.2/32`, `fd70::/16`, or an address alone for the whole of it; `undefined` for anything else. */
export function parsePrefix(text: string): Prefix | undefined {
  try {
    const [address, length] = text.includes('/') ? ipaddr.parseCIDR(text) : [ipaddr.parse(text), undefined]
    const bytes = Uint8Array.from(address.toByteArray())
    return maskedPrefix(bytes, length ?? bytes.length * 8)
  } catch {
    return undefined
  }
}

export function maskedPrefix(bytes: Uint8Array, length: number): Prefix {
  const masked = bytes.map((byte, at) => byte & (0xff << Math.min(8, Math.max(0, at * 8 + 8 - length))))
  return { bytes: masked, length }
}

interface Node<Owner> {
  readonly bytes: Uint8Array
  readonly length: number
  owner: Owner | undefined
  readonly children: [Node<Owner> | undefined, Node<Owner> | undefined]
}

export class AllowedIps<Owner> {
  #ipv4: Node<Owner> | undefined
  #ipv6: Node<Owner> | undefined

  insert(prefix: Prefix, owner: Owner): void {
    if (prefix.bytes.length === 4) this.#ipv4 = insert(this.#ipv4, prefix, owner)
    else this.#ipv6 = insert(this.#ipv6, prefix, owner)
  }

  removeOwner(owner: Owner): void {
    this.#ipv4 = withoutOwner(this.#ipv4, owner)
    this.#ipv6 = withoutOwner(this.#ipv6, owner)
  }

  /** The owner of the IPv4 address at `offset`. */
  lookupIpv4(bytes: Uint8Array, offset: number): Owner | undefined {
    return lookup(this.#ipv4, bytes, offset)
  }

  lookupIpv6(bytes: Uint8Array, offset: number): Owner | undefined {
    return lookup(this.#ipv6, bytes, offset)
  }
}

function leaf<Owner>(prefix: Prefix, owner: Owner | undefined): Node<Owner> {
  return { bytes: prefix.bytes, length: prefix.length, owner, children: [undefined, undefined] }
}

function insert<Owner>(node: Node<Owner> | undefined, prefix: Prefix, owner: Owner): Node<Owner> {
  if (node === undefined) return leaf(prefix, owner)
  const common = commonBits(node.bytes, prefix.bytes, { offset: 0, limit: Math.min(node.length, prefix.length) })
  if (common === node.length && common === prefix.length) {
    node.owner = owner
    return node
  }
  if (common === node.length) {
    const side = bitAt(prefix.bytes, common)
    node.children[side] = insert(node.children[side], prefix, owner)
    return node
  }
  if (common === prefix.length) {
    const parent = leaf(prefix, owner)
    parent.children[bitAt(node.bytes, common)] = node
    return parent
  }
  const fork = leaf<Owner>(maskedPrefix(prefix.bytes, common), undefined)
  fork.children[bitAt(node.bytes, common)] = node
  fork.children[bitAt(prefix.bytes, common)] = leaf(prefix, owner)
  return fork
}

function withoutOwner<Owner>(node: Node<Owner> | undefined, owner: Owner): Node<Owner> | undefined {
  if (node === undefined) return undefined
  if (node.owner === owner) node.owner = undefined
  const left = withoutOwner(node.children[0], owner)
  const right = withoutOwner(node.children[1], owner)
  node.children[0] = left
  node.children[1] = right
  if (node.owner !== undefined || (left !== undefined && right !== undefined)) return node
  return left ?? right
}

function lookup<Owner>(root: Node<Owner> | undefined, bytes: Uint8Array, offset: number): Owner | undefined {
  let best: Owner | undefined
  let node = root
  while (node !== undefined) {
    const { length } = node
    if (commonBits(node.bytes, bytes, { offset, limit: length }) < length) break
    best = node.owner ?? best
    if (length === node.bytes.length * 8) break
    node = node.children[bitAt(bytes, offset * 8 + length)]
  }
  return best
}

/** How many leading bits `a` shares with `b` from `offset` on, at most `limit`. */
function commonBits(
  a: Uint8Array,
  b: Uint8Array,
  { offset, limit }: { readonly offset: number; readonly limit: number },
): number {
  for (let at = 0; at * 8 < limit; at++) {
    const difference = (a[at] ?? 0) ^ (b[offset + at] ?? 0)
    if (difference !== 0) return Math.min(limit, at * 8 + Math.clz32(difference) - 24)
  }
  return limit
}

function bitAt(bytes: Uint8Array, bit: number): 0 | 1 {
  return ((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) === 0 ? 0 : 1
}
