/** What the lab says to its agent in a namespace and hears from it: one JSON object a line. Times: `machineTime`. */

export type AgentRequest =
  /** Echo requests to an address, one each `interval` ms, until `stop`. */
  | { readonly id: number; readonly kind: 'ping'; readonly address: string; readonly interval: number }
  | { readonly id: number; readonly kind: 'stop' }
  /** Takes copies over TCP on a free port. */
  | { readonly id: number; readonly kind: 'listen' }
  | {
      readonly id: number
      readonly kind: 'copy'
      readonly address: string
      readonly port: number
      readonly bytes: number
    }

export type AgentEvent =
  | { readonly id: number; readonly kind: 'reply'; readonly sentAt: number; readonly at: number }
  | { readonly id: number; readonly kind: 'listening'; readonly port: number }
  | { readonly id: number; readonly kind: 'progress'; readonly bytes: number }
  | {
      readonly id: number
      readonly kind: 'copied'
      readonly bytes: number
      readonly milliseconds: number
      /** SHA-256 of what was sent and of what arrived, hex. */
      readonly sent: string
      readonly arrived: string
    }
  | { readonly id: number; readonly kind: 'failed'; readonly reason: string }

/** Both ends are ours and of one build: the shape is not checked. */
export function decodeLine<Message extends AgentRequest | AgentEvent>(line: string): Message {
  return JSON.parse(line) as Message
}

export function encodeLine(message: AgentRequest | AgentEvent): string {
  return `${JSON.stringify(message)}\n`
}

/** Milliseconds of CLOCK_MONOTONIC: comparable between the processes of one machine, unlike `performance.now()`. */
export function machineTime(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
