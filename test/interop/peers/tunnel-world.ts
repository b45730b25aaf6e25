/**
 * Two network namespaces joined by a veth pair: our guard (guard.ts) in one, wireguard-go in the other, already
 * configured for each other. Everything is gone when it is disposed.
 */

import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Endpoint } from '../../../src/api/endpoint.ts'
import { importKeyPair } from '../../../src/guard/wireguard/crypto.ts'
import { runCommand } from '../../../src/net/run-command.ts'
import { toBase64 } from '../../../src/util/bytes.ts'
import { systemRandom } from '../../../src/util/random.ts'
import type { GuardConfig, GuardOrder, GuardReply } from './guard.ts'

const peersFolder = dirname(fileURLToPath(import.meta.url))

export const ours: Endpoint = { address: '10.200.0.1', port: 5001 }
export const theirs: Endpoint = { address: '10.200.0.2', port: 5002 }
/** Inside the tunnel. */
export const inner = { ours: '10.77.0.1', theirs: '10.77.0.2', oursIpv6: 'fd77::1', theirsIpv6: 'fd77::2' } as const

export interface TunnelWorldOptions extends Pick<GuardConfig, 'rekeyAfterMessages' | 'underLoadMessages'> {
  readonly mtu?: number
  /** Also for wireguard-go, unless it is given its own. */
  readonly presharedKey?: string
  readonly theirPresharedKey?: string
  /** Whether wireguard-go knows our endpoint, so that it can begin. */
  readonly theyKnowUs?: boolean
}

let worlds = 0

export class TunnelWorld implements AsyncDisposable {
  /** Why ours was told what by the guard, oldest first. */
  readonly replies: GuardReply[] = []
  readonly #name: string
  readonly #signal: AbortSignal
  readonly #children: ChildProcess[] = []
  #guard: ChildProcessByStdio<Writable, Readable, null> | undefined

  private constructor(signal: AbortSignal) {
    this.#signal = signal
    this.#name = `pg-i${process.pid}x${worlds++}`
  }

  static async open(options: TunnelWorldOptions, signal: AbortSignal): Promise<TunnelWorld> {
    const world = new TunnelWorld(signal)
    try {
      await world.#build(options)
      return world
    } catch (error) {
      await world[Symbol.asyncDispose]()
      throw error
    }
  }

  /** The end of the veth pair and of the tunnel that is ours (`a`) or wireguard-go's (`b`). */
  namespace(end: 'a' | 'b'): string {
    return `${this.#name}${end}`
  }

  /** What a program in a namespace writes to standard output. */
  run(end: 'a' | 'b', program: string, ...args: string[]): Promise<string> {
    return runCommand('ip', ['netns', 'exec', this.namespace(end), program, ...args])
  }

  /** `wg` about wireguard-go's interface. */
  wg(args: readonly string[]): Promise<string> {
    return this.run('b', 'wg', ...args)
  }

  get interfaceName(): string {
    return `${this.#name.slice(-12)}w`
  }

  order(order: GuardOrder): void {
    this.#guard?.stdin.write(`${JSON.stringify(order)}\n`)
  }

  /** The next reply of a kind that is not among the first `seen` replies. */
  async reply<Kind extends GuardReply['kind']>(
    kind: Kind,
    options: { readonly seen?: number; readonly within: number },
  ): Promise<Extract<GuardReply, { kind: Kind }>> {
    const end = performance.now() + options.within
    for (;;) {
      for (const reply of this.replies.slice(options.seen ?? 0)) if (isKind(reply, kind)) return reply
      this.#signal.throwIfAborted()
      if (performance.now() > end) throw new Error(`no '${kind}' within ${options.within / 1000} s`)
      await delay(10)
    }
  }

  async stats(): Promise<Extract<GuardReply, { kind: 'stats' }>> {
    const seen = this.replies.length
    this.order({ kind: 'stats' })
    return this.reply('stats', { seen, within: 5_000 })
  }

  /** How many of `count` echo requests, one every `interval` s, were answered. */
  async ping(
    from: 'a' | 'b',
    to: string,
    options: { readonly count: number; readonly interval?: number },
  ): Promise<number> {
    const { count, interval = 0.05 } = options
    // Not -w: with it, ping sends another one when an answer is late, and there are more answers than were asked for.
    const args = ['-q', '-n', '-c', String(count), '-i', String(interval), '-W', '3', to]
    const child = this.#spawn(from, ['ping', ...args])
    const text = await output(child)
    return Number(/(\d+) received/.exec(text)?.[1] ?? 0)
  }

  /** Sends random bytes over TCP; whether both ends saw the same, and Mbit/s. */
  async transfer(
    from: 'a' | 'b',
    options: { readonly bytes: number; readonly port: number },
  ): Promise<{ readonly isEqual: boolean; readonly rate: number }> {
    const [server, client, address] =
      from === 'a' ? (['b', 'a', inner.theirs] as const) : (['a', 'b', inner.ours] as const)
    const program = join(peersFolder, 'transfer.js')
    const serving = this.#spawn(server, [process.execPath, program, 'serve', address, String(options.port)])
    const served = output(serving)
    await once(serving.stdout, 'readable')
    const start = performance.now()
    const args = ['send', address, String(options.port), String(options.bytes)]
    const sent = (await output(this.#spawn(client, [process.execPath, program, ...args]))).trim()
    const received = (await served).replace('listening', '').trim()
    const seconds = (performance.now() - start) / 1000
    return { isEqual: sent.length === 64 && sent === received, rate: (options.bytes * 8) / seconds / 1e6 }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      await Promise.race([ended, delay(2_000).then(() => child.kill('SIGKILL'))])
    }
    for (const end of ['a', 'b'] as const) {
      await runCommand('ip', ['netns', 'delete', this.namespace(end)]).catch(() => {})
    }
  }

  async #build(options: TunnelWorldOptions): Promise<void> {
    const [a, b] = [this.namespace('a'), this.namespace('b')]
    const [ourSecret, theirSecret] = [systemRandom.bytes(32), systemRandom.bytes(32)]
    const [ourKey, theirKey] = [importKeyPair(ourSecret).publicKey, importKeyPair(theirSecret).publicKey]
    for (const namespace of [a, b]) {
      await runCommand('ip', ['netns', 'add', namespace])
      await runCommand('ip', ['-n', namespace, 'link', 'set', 'lo', 'up'])
    }
    await runCommand('ip', ['-n', a, 'link', 'add', 'veth', 'type', 'veth', 'peer', 'name', 'veth', 'netns', b])
    for (const [namespace, { address }] of [
      [a, ours],
      [b, theirs],
    ] as const) {
      await runCommand('ip', ['-n', namespace, 'address', 'add', `${address}/24`, 'dev', 'veth'])
      await runCommand('ip', ['-n', namespace, 'link', 'set', 'veth', 'up'])
    }
    await this.#startTheirs(options, { secret: theirSecret, ourKey })
    await this.#startOurs(options, { secret: ourSecret, theirKey })
  }

  async #startTheirs(
    options: TunnelWorldOptions,
    keys: { readonly secret: Uint8Array; readonly ourKey: Uint8Array },
  ): Promise<void> {
    const { mtu = 1420, theyKnowUs = false } = options
    const name = this.interfaceName
    // It asks for as many descriptors as it may have.
    this.#spawn('b', ['sh', '-c', `ulimit -n 1024; exec wireguard-go -f ${name} 2>/dev/null`])
    for (let tries = 0; ; tries++) {
      const isUp = await this.wg(['show', name]).then(
        () => true,
        () => false,
      )
      if (isUp) break
      if (tries > 100) throw new Error('wireguard-go did not start')
      await delay(50)
    }
    const presharedKey = options.theirPresharedKey ?? options.presharedKey
    const lines = [
      '[Interface]',
      `PrivateKey = ${toBase64(keys.secret)}`,
      `ListenPort = ${theirs.port}`,
      '[Peer]',
      `PublicKey = ${toBase64(keys.ourKey)}`,
      `AllowedIPs = ${inner.ours}/32, ${inner.oursIpv6}/128`,
      ...(presharedKey === undefined ? [] : [`PresharedKey = ${presharedKey}`]),
      ...(theyKnowUs ? [`Endpoint = ${ours.address}:${ours.port}`] : []),
    ]
    // Node's pipes are sockets, which cannot be opened by name.
    const command = ['netns', 'exec', this.namespace('b'), 'sh', '-c', `cat | wg setconf ${name} /dev/stdin`]
    await runCommand('ip', command, { input: `${lines.join('\n')}\n` })
    await this.run('b', 'ip', 'address', 'add', `${inner.theirs}/24`, 'dev', name)
    await this.run('b', 'ip', '-6', 'address', 'add', `${inner.theirsIpv6}/64`, 'dev', name, 'nodad')
    await this.run('b', 'ip', 'link', 'set', 'dev', name, 'mtu', String(mtu), 'up')
  }

  async #startOurs(
    options: TunnelWorldOptions,
    keys: { readonly secret: Uint8Array; readonly theirKey: Uint8Array },
  ): Promise<void> {
    const { mtu = 1420, presharedKey, rekeyAfterMessages, underLoadMessages } = options
    const config: GuardConfig = {
      interfaceName: 'pg0',
      mtu,
      port: ours.port,
      privateKey: toBase64(keys.secret),
      peerPublicKey: toBase64(keys.theirKey),
      presharedKey,
      addresses: [`${inner.ours}/24`, `${inner.oursIpv6}/64`],
      allowedIps: [`${inner.theirs}/32`, `${inner.theirsIpv6}/128`],
      ...(rekeyAfterMessages === undefined ? {} : { rekeyAfterMessages }),
      ...(underLoadMessages === undefined ? {} : { underLoadMessages }),
    }
    const guard = this.#spawn('a', [process.execPath, '--enable-source-maps', join(peersFolder, 'guard.js')])
    this.#guard = guard
    createInterface({ input: guard.stdout }).on('line', (line) => this.replies.push(JSON.parse(line)))
    guard.stdin.write(`${JSON.stringify(config)}\n`)
    await this.reply('ready', { within: 10_000 })
  }

  #spawn(end: 'a' | 'b', argv: readonly string[]): ChildProcessByStdio<Writable, Readable, null> {
    const args = ['netns', 'exec', this.namespace(end), ...argv]
    const child = spawn('ip', args, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#children.push(child)
    return child
  }
}

function isKind<Kind extends GuardReply['kind']>(
  reply: GuardReply,
  kind: Kind,
): reply is Extract<GuardReply, { kind: Kind }> {
  return reply.kind === kind
}

async function output(child: ChildProcessByStdio<Writable, Readable, null>): Promise<string> {
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  await once(child, 'close')
  return text
}
