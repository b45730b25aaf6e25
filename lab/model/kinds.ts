/** The NAT kinds of the lab and the tests, by their RFC 4787 words, and how they are written on a command line. */

import type { Dependence, NatBehaviour, PortAllocation } from './nat.ts'

/** `none`: the hosts have public addresses. */
export type SiteKind = { readonly kind: 'none' } | ({ readonly kind: 'nat' } & NatBehaviour)

/** Mapping, filtering, and the port allocation where it is not `preserving`. */
export type SiteKindName =
  | 'public'
  | 'eim-eif'
  | 'eim-adf'
  | 'eim-apdf'
  | 'eim-apdf-random'
  | 'adm-apdf-random'
  | 'apdm-apdf-random'
  | 'apdm-apdf-sequential'

const independent = 'endpoint-independent'
const address = 'address-dependent'
const port = 'address-and-port-dependent'

function nat(mapping: Dependence, filtering: Dependence, portAllocation: PortAllocation): SiteKind {
  return { kind: 'nat', mapping, filtering, portAllocation }
}

export const siteKinds: Readonly<Record<SiteKindName, SiteKind>> = {
  public: { kind: 'none' },
  'eim-eif': nat(independent, independent, 'preserving'),
  'eim-adf': nat(independent, address, 'preserving'),
  'eim-apdf': nat(independent, port, 'preserving'),
  'eim-apdf-random': nat(independent, port, 'random'),
  'adm-apdf-random': nat(address, port, 'random'),
  'apdm-apdf-random': nat(port, port, 'random'),
  'apdm-apdf-sequential': nat(port, port, 'sequential'),
}

export const siteKindNames: readonly SiteKindName[] = Object.keys(siteKinds) as SiteKindName[]

const dependences = [independent, address, port] as const
const mappings = new Map<string, Dependence>([
  ['eim', independent],
  ['adm', address],
  ['apdm', port],
  ...dependences.map((word) => [word, word] as const),
])
const filterings = new Map<string, Dependence>([
  ['eif', independent],
  ['adf', address],
  ['apdf', port],
  ...dependences.map((word) => [word, word] as const),
])
const allocations: readonly PortAllocation[] = ['preserving', 'sequential', 'random']

/**
 * Reads a short name, any other combination of its parts (`adm-adf-sequential`), or the words in full:
 * `endpoint-independent/address-and-port-dependent/random` (mapping, filtering, and the port allocation if not
 * `preserving`). `undefined` for anything else.
 */
export function parseSiteKind(text: string): SiteKind | undefined {
  if (text === 'public' || text === 'none') return { kind: 'none' }
  const [mappingWord = '', filteringWord = '', allocationWord = 'preserving', ...more] = text.includes('/')
    ? text.split('/')
    : text.split('-')
  const mapping = mappings.get(mappingWord)
  const filtering = filterings.get(filteringWord)
  const allocation = allocations.find((word) => word === allocationWord)
  if (mapping === undefined || filtering === undefined || allocation === undefined || more.length > 0) return undefined
  return nat(mapping, filtering, allocation)
}

/** One line for people. */
export function describeSiteKind(kind: SiteKind): string {
  if (kind.kind === 'none') return 'no NAT, public address'
  return `${kind.mapping} mapping, ${kind.filtering} filtering, ${kind.portAllocation} ports`
}
