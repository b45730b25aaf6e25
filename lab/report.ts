/** What the lab prints: a timeline with the time since the start, and at the end one summary or one JSON object. */

import type { DeviceEvent } from '../src/api/device.ts'
import { formatEndpoint } from '../src/api/endpoint.ts'
import type { PathStatus } from '../src/api/roles.ts'

export interface LabResult {
  readonly ok: boolean
  /** Invite typed to both sides pinned. */
  readonly paired_ms?: number
  /** `up` typed on both to the first reply to a ping through the tunnel. */
  readonly tunnel_up_ms?: number
  /** Median round trip through the tunnel, from a and from b. */
  readonly ping_ms?: number
  readonly ping_back_ms?: number
  readonly copied_bytes?: number
  readonly sha256_equal?: boolean
  readonly copy_mbit_s?: number
  /** Largest packet from a that passes the path unbroken, as known after the copy. */
  readonly path_mtu?: number | undefined
  /** How the tunnel's packets went, as `status` says. */
  readonly path?: string
  /** Longest gap of a ping each 20 ms around the change of site a's public address. */
  readonly heal_ms?: number
  readonly seconds: number
  readonly error?: string
  readonly hint?: string
}

export class Report {
  readonly #begin = performance.now()
  readonly #write: (text: string) => void

  constructor(write: (text: string) => void) {
    this.#write = write
  }

  get seconds(): number {
    return (performance.now() - this.#begin) / 1000
  }

  text(text: string): void {
    this.#write(`${text}\n`)
  }

  /** One line of the timeline. `who`: a, b, or nothing for the lab itself. */
  line(who: string, text: string): void {
    this.text(`+${this.seconds.toFixed(3).padStart(7)} s  ${who.padEnd(2)} ${text}`)
  }

  event(who: string, event: DeviceEvent): void {
    const text = describeEvent(event)
    if (text !== undefined) this.line(who, text)
  }

  table(rows: readonly (readonly [string, string])[]): void {
    const width = Math.max(...rows.map(([name]) => name.length))
    for (const [name, value] of rows) this.text(`  ${name.padEnd(width)}  ${value}`)
  }
}

function describeEvent(event: DeviceEvent): string | undefined {
  switch (event.kind) {
    case 'network':
      return event.status.kind === 'online'
        ? `${event.network} online: ${event.status.detail}`
        : `${event.network} connecting: ${event.status.reason}`
    case 'pairing':
      return `pairing, ${event.step}: ${event.text}`
    case 'peer': {
      const path = event.path === undefined ? '' : ` (${describePath(event.path)})`
      return `${event.peer} ${event.state}: ${event.reason}${path}`
    }
  }
}

export function describePath({ kind, remote, mapped, roundTrip, mtu }: PathStatus): string {
  const seen = mapped === undefined ? '' : `, seen as ${formatEndpoint(mapped)}`
  const time = roundTrip === undefined ? '' : `, ${roundTrip.toFixed(1)} ms`
  const size = mtu === undefined ? '' : `, packets up to ${mtu} bytes`
  return `direct, ${kind}, to ${formatEndpoint(remote)}${seen}${time}${size}`
}
