/**
 * After a hint that our own address changed: shows the nodes close to us where we are now. They keep our old address
 * until we contact them, and name it to everybody who looks for us.
 */

import type { KnownNode } from './known-node.ts'

/** When, after the hint, the nodes are asked, ms. */
const rounds = [0, 200, 500, 1000, 2000, 4000]

/** So many rounds go to all: a node that answered us may have lost what it needs to see that we moved. */
const roundsToAll = 3

/** From this round on silence means that the nodes are gone, and the configured ones are asked too. */
const doubtFrom = 2

export class Presence {
  #shown: { readonly since: number; readonly done: number } | undefined

  start(now: number): void {
    this.#shown = { since: now, done: 0 }
  }

  get deadline(): number {
    return this.#shown === undefined ? Number.POSITIVE_INFINITY : this.#shown.since + (rounds[this.#shown.done] ?? 0)
  }

  /** Those of `nodes` to be asked now, and whether nobody has answered for so long that it is time to bootstrap. */
  due(nodes: readonly KnownNode[], now: number): { readonly ask: readonly KnownNode[]; readonly bootstrap: boolean } {
    const shown = this.#shown
    if (shown === undefined || this.deadline > now) return { ask: [], bootstrap: false }
    const silent = nodes.filter((node) => node.lastAnswer <= shown.since)
    const ask = shown.done < roundsToAll ? nodes : silent
    const bootstrap = shown.done >= doubtFrom && silent.length === nodes.length
    const done = shown.done + 1
    this.#shown = done < rounds.length && ask.length > 0 ? { since: shown.since, done } : undefined
    return { ask, bootstrap }
  }
}
