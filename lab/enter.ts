/**
 * The way into fresh namespaces (user where possible, network, mount, process), so that nothing the lab does is seen
 * or left outside: as an ordinary user where the system allows it, as root, or through sudo, said aloud.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, existsSync, constants as modes } from 'node:fs'
import { constants } from 'node:os'
import { PunchGuardError } from '../src/api/errors.ts'
import { environment, type ProgramResult, tryProgram } from './program.ts'

const unshareAsRoot = ['unshare', '-nm', '--pid', '--fork', '--kill-child', '--mount-proc'] as const
const unshareAsUser = ['unshare', '-Urnm', '--pid', '--fork', '--kill-child', '--mount-proc'] as const

const tunDevice = '/dev/net/tun'

/** What the lab needs to be allowed: a private /run, a TUN interface, and moving it into another namespace. */
const trial = [
  'sh',
  '-c',
  'mount -t tmpfs -o mode=0755 tmpfs /run && ip tuntap add dev pg-try mode tun && ip netns add pg-try && ' +
    'ip link set dev pg-try netns pg-try && nsenter --net=/run/netns/pg-try true',
] as const

/** The shell is process 1 of the new process namespace: it reaps orphans, and all others end with it. */
const firstProcess = '"$@"; status=$?; exit "$status"'

/** Of a program that was asked to stop. */
const stopped = 128 + constants.signals.SIGINT

interface EnterOptions {
  readonly signal: AbortSignal
  readonly say: (line: string) => void
}

/**
 * Runs `program` (a file of ours, with its arguments) in fresh namespaces with our standard output and error. Its
 * standard input ends when it is to stop: when `signal` is aborted, or this process is gone in any way.
 * @returns its exit status
 * @throws PunchGuardError GUARD_UNAVAILABLE, PERMISSION_DENIED
 */
export async function runInFreshNamespaces(program: readonly string[], options: EnterOptions): Promise<number> {
  const enter = await wayIn(options)
  if (options.signal.aborted) return stopped
  const [command = '', ...args] = [...enter, 'sh', '-c', firstProcess, 'sh', process.execPath, '--enable-source-maps']
  const child = spawn(command, [...args, ...program], { stdio: ['pipe', 'inherit', 'inherit'], env: environment })
  // It may be gone already.
  child.stdin.on('error', () => {})
  const stop = (): void => void child.stdin.end()
  options.signal.addEventListener('abort', stop, { once: true })
  try {
    return await statusOf(child)
  } finally {
    options.signal.removeEventListener('abort', stop)
  }
}

/** The beginning of the command line. */
async function wayIn(options: EnterOptions): Promise<readonly string[]> {
  requirePrograms()
  if (process.getuid?.() === 0) {
    const tried = tryProgram([...unshareAsRoot, ...trial])
    if (tried.status === 0) return unshareAsRoot
    throw refusedToRoot(tried)
  }
  const tried = tryProgram([...unshareAsUser, ...trial])
  if (tried.status === 0) return unshareAsUser
  options.say(`An ordinary user cannot make TUN interfaces in namespaces here: ${whyNot(tried)}.`)
  return await throughSudo(options)
}

function requirePrograms(): void {
  if (process.platform !== 'linux') {
    throw new PunchGuardError('GUARD_UNAVAILABLE', `the lab needs Linux, this is ${process.platform}`, {
      hint: 'run it in a Linux virtual machine',
    })
  }
  for (const [program, owner] of [
    ['ip', 'iproute2'],
    ['unshare', 'util-linux'],
    ['nsenter', 'util-linux'],
  ] as const) {
    if (tryProgram([program, '--help']).status !== 127) continue
    throw new PunchGuardError('GUARD_UNAVAILABLE', `the lab needs the program ${program}, which is not installed`, {
      hint: `install the package ${owner}, for example with: sudo apt install ${owner}`,
    })
  }
}

/** As root, in namespaces that are root's; sudo may ask for a password on the terminal. */
async function throughSudo({ signal, say }: EnterOptions): Promise<readonly string[]> {
  const asRoot = ['sudo', '--', ...unshareAsRoot]
  const passwordless = tryProgram(['sudo', '-n', '--', ...unshareAsRoot, 'true'])
  if (passwordless.status === 127) throw needsRoot('sudo is not installed')
  if (passwordless.status !== 0 && !process.stdin.isTTY) {
    throw needsRoot('sudo wants a password, and there is no terminal to ask for it')
  }
  say('The lab runs as root through sudo, in namespaces of its own; it writes nothing into this folder.')
  const [command = '', ...args] = [...asRoot, ...trial]
  const trying = spawn(command, args, { stdio: 'inherit', env: environment })
  // We may be asked to stop while sudo asks for the password.
  const stop = (): void => void trying.kill()
  signal.addEventListener('abort', stop, { once: true })
  const status = await statusOf(trying).finally(() => signal.removeEventListener('abort', stop))
  if (status !== 0 && !signal.aborted) throw needsRoot('sudo did not give it namespaces and TUN interfaces')
  return asRoot
}

function needsRoot(why: string): PunchGuardError {
  return new PunchGuardError('PERMISSION_DENIED', `the lab needs root here, and ${why}`, {
    hint: `run npm start as root, or let this user make user namespaces and open ${tunDevice} (mode 0666 on most systems)`,
  })
}

function refusedToRoot(tried: ProgramResult): PunchGuardError {
  const message = `namespaces or TUN interfaces cannot be made here, although this is root: ${whyNot(tried)}`
  return new PunchGuardError('GUARD_UNAVAILABLE', message, {
    hint: `in a container, pass in the device ${tunDevice} and the capabilities NET_ADMIN and SYS_ADMIN`,
  })
}

/** The reason of a trial that failed. What `ip` says of the device does not name it. */
function whyNot({ stderr, status }: ProgramResult): string {
  if (!existsSync(tunDevice)) return `${tunDevice} is missing (the kernel module tun is not loaded?)`
  try {
    accessSync(tunDevice, modes.R_OK | modes.W_OK)
  } catch {
    return `${tunDevice} may not be opened`
  }
  return stderr.trim().split('\n')[0] || `status ${status}`
}

function statusOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (status, signal) => resolve(status ?? 128 + (signal === null ? 0 : constants.signals[signal])))
  })
}
