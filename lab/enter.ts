/**
 * The way into fresh namespaces (user where possible, network, mount, process), so that nothing the lab does is seen
 * or left outside: as an ordinary user where the system allows it, as root, or through sudo, said aloud.
 */

import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { PunchGuardError } from '../src/api/errors.ts'
import { environment, type ProgramResult, tryProgram } from './program.ts'

const unshareAsRoot = ['unshare', '-nm', '--pid', '--fork', '--kill-child', '--mount-proc'] as const
const unshareAsUser = ['unshare', '-Urnm', '--pid', '--fork', '--kill-child', '--mount-proc'] as const

/** What the lab needs to be allowed: a private /run, a TUN interface, and moving it into another namespace. */
const trial =
  'mount -t tmpfs -o mode=0755 tmpfs /run && ip tuntap add dev pg-try mode tun && ip netns add pg-try && ' +
  'ip link set dev pg-try netns pg-try && nsenter --net=/run/netns/pg-try true'

/** The shell is process 1 of the new process namespace: it reaps orphans, and all others end with it. */
const firstProcess = '"$@"; status=$?; exit "$status"'

/**
 * Runs `program` (a file of ours, with its arguments) in fresh namespaces with our standard output and error. Its
 * standard input ends when it is to stop: when `signal` is aborted, or this process is gone in any way.
 * @returns its exit status
 * @throws PunchGuardError GUARD_UNAVAILABLE, PERMISSION_DENIED
 */
export async function runInFreshNamespaces(
  program: readonly string[],
  options: { readonly signal: AbortSignal; readonly say: (line: string) => void },
): Promise<number> {
  const enter = wayIn(options.say)
  const [command = '', ...args] = [...enter, 'sh', '-c', firstProcess, 'sh', process.execPath, '--enable-source-maps']
  const child = spawn(command, [...args, ...program], { stdio: ['pipe', 'inherit', 'inherit'], env: environment })
  // It may be gone already.
  child.stdin.on('error', () => {})
  const stop = (): void => void child.stdin.end()
  options.signal.addEventListener('abort', stop, { once: true })
  if (options.signal.aborted) stop()
  try {
    return await new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('exit', (status, signal) => resolve(status ?? 128 + (signal === null ? 0 : constants.signals[signal])))
    })
  } finally {
    options.signal.removeEventListener('abort', stop)
  }
}

/** The beginning of the command line. */
function wayIn(say: (line: string) => void): readonly string[] {
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
  if (process.getuid?.() === 0) {
    const tried = tryProgram([...unshareAsRoot, 'sh', '-c', trial])
    if (tried.status === 0) return unshareAsRoot
    throw refused('namespaces or TUN interfaces cannot be made here, although this is root', tried)
  }
  const tried = tryProgram([...unshareAsUser, 'sh', '-c', trial])
  if (tried.status === 0) return unshareAsUser
  say(`An ordinary user cannot make TUN interfaces in namespaces here (${firstLine(tried)}).`)
  const passwordless = tryProgram(['sudo', '-n', 'true'])
  if (passwordless.status === 127 || (passwordless.status !== 0 && !process.stdin.isTTY)) {
    throw new PunchGuardError('PERMISSION_DENIED', 'the lab needs namespaces and TUN interfaces, or root', {
      hint: 'run it as root, or allow unprivileged user namespaces and reading and writing of /dev/net/tun',
    })
  }
  say('The lab runs as root through sudo, in namespaces of its own; it writes nothing into this folder.')
  return ['sudo', '--', ...unshareAsRoot]
}

function refused(message: string, { stderr, ...result }: ProgramResult): PunchGuardError {
  return new PunchGuardError('GUARD_UNAVAILABLE', `${message} (${firstLine({ stderr, ...result })})`, {
    hint: 'in a container, pass in the device /dev/net/tun and the capabilities NET_ADMIN and SYS_ADMIN',
  })
}

function firstLine({ stderr, status }: ProgramResult): string {
  return stderr.trim().split('\n')[0] || `status ${status}`
}
