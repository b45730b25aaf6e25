/** One end of a conversation held by libotr: the harness beside this file, compiled into a folder of its own. */

import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type OtrFingerprint, otrFingerprint } from '../../../src/api/keys.ts'
import { fromHex, fromUtf8, toHex, toUtf8 } from '../../../src/util/bytes.ts'

const run = promisify(execFile)
const source = fileURLToPath(new URL('../../../../test/interop/peers/otr-harness.c', import.meta.url))

export async function missing(): Promise<string | undefined> {
  const compiles = await run('cc', ['-E', '-include', 'libotr/proto.h', '-x', 'c', '/dev/null']).then(
    () => true,
    () => false,
  )
  return compiles ? undefined : 'apt-get update && apt-get install -y libotr5-dev gcc'
}

export async function version(): Promise<string> {
  const { stdout } = await run('cc', ['-dM', '-E', '-include', 'libotr/version.h', '-x', 'c', '/dev/null'])
  return /OTRL_VERSION "([^"]+)"/.exec(stdout)?.[1] ?? '?'
}

/** What libotr reports: the word, and its argument if it has one. Texts are decoded. */
export interface LibotrEvent {
  readonly word: string
  readonly text: string
}

export class Libotr implements AsyncDisposable {
  readonly #folder: string
  readonly #signal: AbortSignal
  #process: ChildProcessWithoutNullStreams | undefined
  #lines: AsyncIterator<string> | undefined
  #fingerprint: OtrFingerprint | undefined
  #instanceTag = 0
  /** Texts on their way to us. */
  readonly sent: string[] = []
  /** Everything else that happened. */
  readonly events: LibotrEvent[] = []

  private constructor(folder: string, signal: AbortSignal) {
    this.#folder = folder
    this.#signal = signal
  }

  static async open(signal: AbortSignal): Promise<Libotr> {
    const peer = new Libotr(await mkdtemp(join(tmpdir(), 'punchguard-libotr-')), signal)
    try {
      await run('cc', ['-O1', '-o', join(peer.#folder, 'harness'), source, '-lotr'], { signal })
      await peer.#spawn()
      return peer
    } catch (error) {
      await peer[Symbol.asyncDispose]()
      throw error
    }
  }

  get fingerprint(): OtrFingerprint {
    if (this.#fingerprint === undefined) throw new Error('libotr has not told its fingerprint')
    return this.#fingerprint
  }

  get instanceTag(): number {
    return this.#instanceTag
  }

  /** Ends the process and starts it again: it knows its key, and its tag unless told to forget it. */
  async restart(options: { readonly forget?: readonly ('key' | 'tag')[] } = {}): Promise<void> {
    await this.#stop()
    for (const file of options.forget ?? []) await rm(join(this.#folder, file), { force: true })
    this.sent.length = 0
    this.events.length = 0
    await this.#spawn()
  }

  receive(text: string): Promise<void> {
    return this.#command('receive', text)
  }

  say(text: string): Promise<void> {
    return this.#command('say', text)
  }

  query(): Promise<void> {
    return this.#command('query')
  }

  prove(secret: string, question?: string): Promise<void> {
    return question === undefined ? this.#command('prove', secret) : this.#command('prove', secret, question)
  }

  answer(secret: string): Promise<void> {
    return this.#command('answer', secret)
  }

  end(): Promise<void> {
    return this.#command('end')
  }

  /** Longest text libotr may send. */
  async limit(bytes: number): Promise<void> {
    this.#write(`limit ${bytes}`)
    await this.#untilDone()
  }

  texts(word: string): string[] {
    return this.events.filter((event) => event.word === word).map((event) => event.text)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop()
    await rm(this.#folder, { recursive: true, force: true })
  }

  async #spawn(): Promise<void> {
    this.#process = spawn(join(this.#folder, 'harness'), [this.#folder], { signal: this.#signal })
    this.#process.on('error', () => {})
    this.#lines = createInterface(this.#process.stdout)[Symbol.asyncIterator]()
    const [word, fingerprint = '', tag = ''] = (await this.#line()).split(' ')
    if (word !== 'ready') throw new Error(`libotr did not start: ${word}`)
    this.#fingerprint = otrFingerprint(fromHex(fingerprint) ?? new Uint8Array())
    this.#instanceTag = Number(tag)
  }

  async #stop(): Promise<void> {
    const process = this.#process
    this.#process = undefined
    if (process === undefined || process.exitCode !== null || process.signalCode !== null) return
    const ended = new Promise((resolve) => process.once('close', resolve))
    process.stdin.end()
    process.kill()
    await ended
  }

  async #command(word: string, ...texts: readonly string[]): Promise<void> {
    this.#write([word, ...texts.map((text) => toHex(toUtf8(text)))].join(' '))
    await this.#untilDone()
  }

  #write(line: string): void {
    this.#process?.stdin.write(`${line}\n`)
  }

  async #untilDone(): Promise<void> {
    for (let line = await this.#line(); line !== 'done'; line = await this.#line()) {
      const [word = '', ...rest] = line.split(' ')
      const text = word === 'send' || word === 'message' ? decode(rest.join('')) : rest.join(' ')
      if (word === 'send') this.sent.push(text)
      else this.events.push({ word, text })
    }
  }

  async #line(): Promise<string> {
    const next = await this.#lines?.next()
    if (next === undefined || next.done) throw new Error('libotr has ended')
    return next.value
  }
}

function decode(hex: string): string {
  return fromUtf8(fromHex(hex) ?? new Uint8Array()) ?? ''
}
