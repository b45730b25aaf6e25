/** The public servers as one process in their namespace, and the configuration with which a device uses them. */

import type { ChildProcess } from 'node:child_process'
import { PunchGuardError } from '../src/api/errors.ts'
import type { GuardKind } from '../src/api/roles.ts'
import { processFile } from './agent.ts'
import type { Namespace } from './namespace.ts'
import type { ServerOptions, ServersReady } from './processes/server-protocol.ts'
import { eachLine, startProgram, stopProgram } from './program.ts'
import { addresses, stunPort, toxPort } from './topology.ts'

export class Servers implements AsyncDisposable {
  /** Resolves when all of them answer. */
  readonly ready: Promise<ServersReady>
  readonly #child: ChildProcess

  constructor(namespace: Namespace, options: { readonly log: (line: string) => void }) {
    const what: ServerOptions = { stun: addresses.stun, stunPort, tox: addresses.tox, toxPort }
    const argv = [process.execPath, '--enable-source-maps', processFile('servers'), JSON.stringify(what)]
    this.#child = startProgram(namespace.command(argv))
    eachLine(this.#child.stderr, (line) => options.log(`servers: ${line}`))
    this.ready = new Promise((resolve, reject) => {
      eachLine(this.#child.stdout, (line) => resolve(JSON.parse(line)))
      this.#child.once('exit', (status) => {
        const message = `the lab's servers ended with status ${status}`
        reject(new PunchGuardError('DAEMON_FAILED', message, { hint: 'run with --verbose to see why' }))
      })
    })
    this.ready.catch(() => {})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stopProgram(this.#child, { patience: 1000 })
  }
}

/** The lines of config.toml that make a device use these servers and no others, and its guard. */
export function configFor(
  { tox }: ServersReady,
  { name, guard }: { readonly name: string; readonly guard: GuardKind },
): string {
  const nodes = tox.map(
    ({ host, udp, tcp, key }) =>
      `[[bootstrap]]\nhost = "${host}"\nudp = ${udp}\ntcp = [${tcp.join(', ')}]\nkey = "${key}"\n`,
  )
  const stun = addresses.stun.map((address) => `"${address}:${stunPort}"`)
  // The devices have one /run between them, in which other programs name things after the interface.
  const carrier = guard === 'embedded' ? '' : `guard = "${guard}"\ninterface = "pg-tun-${name}"\n`
  return `${carrier}stun = [${stun.join(', ')}]\n${nodes.join('')}`
}
