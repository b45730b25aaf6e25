/** tox-bootstrapd on loopback, with its configuration and keys in a folder that is removed at the end. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LineProcess } from './child.ts'

/** Where clients on this machine find a node. */
export interface LoopbackNode {
  readonly port: number
  /** DHT public key, 64 hex digits. */
  readonly key: string
}

export class ToxBootstrapd implements AsyncDisposable {
  readonly node: LoopbackNode
  readonly #process: LineProcess
  readonly #folder: string

  static async start(options: {
    readonly port: number
    readonly others: readonly LoopbackNode[]
    readonly signal: AbortSignal
  }): Promise<ToxBootstrapd> {
    const { port, others, signal } = options
    const folder = await mkdtemp(join(tmpdir(), 'pg-tox-'))
    const config = join(folder, 'config')
    const nodes = others.map((node) => `{ address = "127.0.0.1" port = ${node.port} public_key = "${node.key}" }`)
    const lines = [
      `port = ${port}`,
      `keys_file_path = "${join(folder, 'keys')}"`,
      `pid_file_path = "${join(folder, 'pid')}"`,
      'enable_ipv6 = false',
      'enable_ipv4_fallback = true',
      'enable_lan_discovery = false',
      'enable_tcp_relay = false',
      'enable_motd = false',
      ...(nodes.length === 0 ? [] : [`bootstrap_nodes = ( ${nodes.join(', ')} )`]),
    ]
    await writeFile(config, `${lines.join('\n')}\n`)
    const child = new LineProcess('tox-bootstrapd', [`--config=${config}`, '--foreground', '--log-backend=stdout'])
    const isKey = /Public Key: ([0-9A-F]{64})/i
    try {
      const line = await child.next('tox-bootstrapd', ({ text }) => isKey.test(String(text)), signal)
      const key = isKey.exec(String(line.text))?.[1] ?? ''
      return new ToxBootstrapd({ node: { port, key }, child, folder })
    } catch (error) {
      await child.kill()
      await rm(folder, { recursive: true, force: true })
      throw error
    }
  }

  private constructor(made: { readonly node: LoopbackNode; readonly child: LineProcess; readonly folder: string }) {
    this.node = made.node
    this.#process = made.child
    this.#folder = made.folder
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.kill()
    await rm(this.#folder, { recursive: true, force: true })
  }
}
