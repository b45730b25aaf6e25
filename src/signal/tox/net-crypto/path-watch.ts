/**
 * Whether a confirmed session's path still carries packets both ways. Our own: the specification lets a silent UDP
 * path pass for eight seconds. A session sends at least once a second, so silence of three means something; and when
 * told that the network may have changed, the path must prove itself at once, by an acknowledgement of a packet that
 * was sent after the doubt arose.
 */

/** Our choices, ms. */
const silence = 3_000
/** An acknowledgement this long after the doubt cannot have been under way before it. */
const surelyLater = 300
/** Intervals of probes while in doubt: at first quick, for a NAT that is just being opened. */
const probing = [
  { until: 2_000, interval: 100 },
  { until: 10_000, interval: 500 },
  { until: Number.POSITIVE_INFINITY, interval: 1_000 },
] as const
/** Pauses between reports that the path is silent; the last one repeats. */
const reportPauses = [1_000, 2_000, 4_000, 8_000] as const

type WatchState =
  | { readonly kind: 'trusted' }
  | {
      readonly kind: 'doubted'
      readonly since: number
      readonly reportAt: number
      readonly reports: number
      readonly probeAt: number
    }

export interface WatchWork {
  /** Show the peer where we are, over all its addresses. */
  readonly probe: boolean
  /** Nothing proved the path in time: look for another. */
  readonly silent: boolean
}

export class PathWatch {
  #state: WatchState = { kind: 'trusted' }
  #heardAt: number

  constructor(now: number) {
    this.#heardAt = now
  }

  /** When the last authentic packet came. */
  get heardAt(): number {
    return this.#heardAt
  }

  /** The path was doubted and did not prove itself in the time given to it. */
  get silent(): boolean {
    return this.#state.kind === 'doubted' && this.#state.reports > 0
  }

  get doubted(): boolean {
    return this.#state.kind === 'doubted'
  }

  /** Asks for a proof within `patience` ms; a doubt that is already young is left as it is. */
  doubt(now: number, patience: number): void {
    if (this.#state.kind === 'doubted' && now - this.#state.since < 1_000) return
    this.#state = { kind: 'doubted', since: now, reportAt: now + patience, reports: 0, probeAt: now }
  }

  /** An authentic packet came; `acknowledgedFrom` says when the newest packet it acknowledges was first sent. */
  heard(now: number, acknowledgedFrom: number | undefined): void {
    this.#heardAt = now
    if (this.#state.kind !== 'doubted' || acknowledgedFrom === undefined) return
    const { since } = this.#state
    if (acknowledgedFrom >= since || now - since >= surelyLater) this.#state = { kind: 'trusted' }
  }

  /** What is due. */
  take(now: number): WatchWork {
    if (this.#state.kind === 'trusted' && now >= this.#heardAt + silence) this.doubt(now, 0)
    const state = this.#state
    if (state.kind === 'trusted') return { probe: false, silent: false }
    const probe = now >= state.probeAt
    const silent = now >= state.reportAt
    const interval = probing.find(({ until }) => now - state.since < until)?.interval ?? 1_000
    const pause = reportPauses[Math.min(state.reports, reportPauses.length - 1)] ?? 1_000
    this.#state = {
      ...state,
      probeAt: probe ? now + interval : state.probeAt,
      reportAt: silent ? now + pause : state.reportAt,
      reports: silent ? state.reports + 1 : state.reports,
    }
    return { probe, silent }
  }

  get deadline(): number {
    if (this.#state.kind === 'trusted') return this.#heardAt + silence
    return Math.min(this.#state.probeAt, this.#state.reportAt)
  }
}
