/**
 * Our end of OpenVPN's management interface (doc/management-notes.txt of OpenVPN 2.6): lines of a running process in,
 * events and commands out. It gives leave to start whenever the process waits for it, which it does again after every
 * restart of its own. Left out: passwords, clients, routes and logs, of which a peer-to-peer tunnel has none here.
 */

/** What the process is about, of the names in management-notes.txt, "COMMAND -- state". */
export type OpenvpnState = 'connecting' | 'connected' | 'reconnecting' | 'exiting'

/** What the process tells of itself. */
export type ManagementEvent =
  | { readonly kind: 'state'; readonly state: OpenvpnState; readonly reason: string }
  /** On the UDP socket since the process began, bytes. */
  | { readonly kind: 'bytes'; readonly received: number; readonly sent: number }
  /** It will end. */
  | { readonly kind: 'fatal'; readonly reason: string }

export type ManagementEffect =
  | ManagementEvent
  /** A command, to be sent with a line end. */
  | { readonly kind: 'send'; readonly command: string }

export interface ManagementStats {
  readonly lines: number
  /** Longer than any that we know, and skipped. */
  readonly tooLong: number
  /** Began as one that we know, and did not go on so. */
  readonly malformed: number
  /** Commands that were refused. */
  readonly refused: number
}

const longestLine = 1024
const newline = 0x0a

/** Seconds between two counts. */
const countInterval = 1

const states: Readonly<Record<string, OpenvpnState>> = {
  WAIT: 'connecting',
  AUTH: 'connecting',
  RECONNECTING: 'reconnecting',
  EXITING: 'exiting',
}

export class Management {
  /** Of a line whose end has not come. */
  #begun: Uint8Array = new Uint8Array(0)
  /** Until the next line end. */
  #skipping = false
  #lines = 0
  #tooLong = 0
  #malformed = 0
  #refused = 0

  /** To be sent first. */
  begin(): readonly ManagementEffect[] {
    return ['state on', `bytecount ${countInterval}`].map((command) => ({ kind: 'send', command }))
  }

  receive(bytes: Uint8Array): readonly ManagementEffect[] {
    const effects: ManagementEffect[] = []
    let at = 0
    for (let end = bytes.indexOf(newline); end !== -1; end = bytes.indexOf(newline, at)) {
      const line = this.#complete(bytes.subarray(at, end))
      if (line !== undefined) this.#take(line, effects)
      at = end + 1
    }
    this.#keep(bytes.subarray(at))
    return effects
  }

  stats(): ManagementStats {
    return { lines: this.#lines, tooLong: this.#tooLong, malformed: this.#malformed, refused: this.#refused }
  }

  #complete(rest: Uint8Array): string | undefined {
    const skip = this.#skipping || this.#begun.length + rest.length > longestLine
    const line = skip ? undefined : Buffer.concat([this.#begun, rest]).toString('utf8').trimEnd()
    if (skip) this.#tooLong++
    this.#begun = new Uint8Array(0)
    this.#skipping = false
    return line
  }

  #keep(rest: Uint8Array): void {
    if (this.#skipping || rest.length === 0) return
    this.#skipping = this.#begun.length + rest.length > longestLine
    this.#begun = this.#skipping ? new Uint8Array(0) : new Uint8Array(Buffer.concat([this.#begun, rest]))
  }

  #take(line: string, effects: ManagementEffect[]): void {
    this.#lines++
    const [, kind, value = ''] = /^>([A-Z]+):(.*)$/.exec(line) ?? []
    if (kind === undefined) {
      if (line.startsWith('ERROR:')) this.#refused++
      return
    }
    if (kind === 'HOLD') effects.push({ kind: 'send', command: 'hold release' })
    else if (kind === 'FATAL') effects.push({ kind: 'fatal', reason: value })
    else if (kind === 'STATE') this.#push(decodeState(value), effects)
    else if (kind === 'BYTECOUNT') this.#push(decodeBytes(value), effects)
  }

  #push(effect: ManagementEffect | 'nothing' | undefined, effects: ManagementEffect[]): void {
    if (effect === undefined) this.#malformed++
    else if (effect !== 'nothing') effects.push(effect)
  }
}

/** `1795397768,CONNECTED,SUCCESS,,192.168.7.2,41000,,`: time, state, description, addresses and ports. */
function decodeState(value: string): ManagementEffect | 'nothing' | undefined {
  const [time, name, reason = ''] = value.split(',')
  if (time === undefined || name === undefined || !/^\d+$/.test(time) || !/^[A-Z_]+$/.test(name)) return undefined
  // Anything but SUCCESS says that the interface could not be set up.
  if (name === 'CONNECTED')
    return { kind: 'state', state: reason === 'SUCCESS' ? 'connected' : 'connecting', reason: '' }
  const state = states[name]
  return state === undefined ? 'nothing' : { kind: 'state', state, reason }
}

/** `5524,5731`: received, sent. */
function decodeBytes(value: string): ManagementEffect | undefined {
  const match = /^(\d{1,15}),(\d{1,15})$/.exec(value)
  return match === null ? undefined : { kind: 'bytes', received: Number(match[1]), sent: Number(match[2]) }
}
