/**
 * A clone that belongs to an ordinary user, and a stage on which that user runs things in it: a mount namespace in which
 * alone the user is known, may or may not use sudo, and finds a /dev/net/tun of the wished mode. Root only.
 */

import {
  chmodSync,
  chownSync,
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** The user's number, which nobody else has. */
const user = 54_321

export interface StageOptions {
  readonly as: 'root' | 'user'
  /** What the user gets of sudo. */
  readonly sudo?: keyof typeof rules
  /** Whether the user may open /dev/net/tun. */
  readonly tun?: boolean
}

/** $1 a folder, $2 the clone, $3 node_modules, $4 the user, $5 the mode of TUN, $6 a rule of sudo; then the program. */
const script = `
set -e
stage=$1 clone=$2 modules=$3 user=$4 tun=$5 rule=$6; shift 6
mount -t tmpfs -o mode=0755 tmpfs "$stage"
chown "$user" "$stage"
{ cat /etc/passwd; echo "pgtest:*:$user:$user::$stage:/bin/sh"; } >"$stage/passwd"
mount --bind "$stage/passwd" /etc/passwd
printf 'Defaults env_keep += "PUNCHGUARD_TEST_RUN"\n%s\n' "$rule" >"$stage/sudoers"
chmod 0440 "$stage/sudoers"
if [ -e /etc/sudoers ]; then mount --bind "$stage/sudoers" /etc/sudoers; fi
mknod -m "$tun" "$stage/tun" c 10 200
mount --bind "$stage/tun" /dev/net/tun
mount --bind "$modules" "$clone/node_modules"
mkdir "$stage/bin"
for program in sh env unshare nsenter mount; do ln -s "$(command -v $program)" "$stage/bin"; done
cd "$clone"
exec "$@"
`

const rules = { free: 'pgtest ALL=(ALL) NOPASSWD: ALL', 'for a password': 'pgtest ALL=(ALL) ALL', 'not installed': '' }

export class Clone implements Disposable {
  readonly folder: string
  readonly #base: string

  constructor() {
    this.#base = mkdtempSync(join(tmpdir(), 'pgtest-'))
    chmodSync(this.#base, 0o755)
    this.folder = join(this.#base, 'clone')
    for (const folder of ['stage', 'clone', join('clone', 'node_modules')]) mkdirSync(join(this.#base, folder))
    const left = ['.git', 'node_modules']
    for (const name of readdirSync(root).filter((name) => !left.includes(name))) {
      cpSync(join(root, name), join(this.folder, name), { recursive: true, preserveTimestamps: true })
    }
    for (const path of [this.folder, ...this.#paths()]) chownSync(path, user, user)
  }

  /** The command line that runs a program in the clone, on a stage of its own. */
  command(argv: readonly string[], { as, sudo = 'not installed', tun = false }: StageOptions): readonly string[] {
    const stage = join(this.#base, 'stage')
    const folders = [stage, this.folder, realpathSync(join(root, 'node_modules'))]
    const { PATH: everything = '' } = process.env
    const path = sudo === 'not installed' ? join(stage, 'bin') : everything
    const become = ['setpriv', '--reuid', `${user}`, '--regid', `${user}`, '--clear-groups', 'env', `HOME=${stage}`]
    const program = as === 'root' ? argv : [...become, `PATH=${path}`, ...argv]
    const words = [`${user}`, tun ? '0666' : '0600', rules[sudo]]
    return ['unshare', '-m', '--propagation', 'private', 'sh', '-c', script, 'sh', ...folders, ...words, ...program]
  }

  /** What in the clone does not belong to the user. */
  strangers(): readonly string[] {
    return this.#paths().filter((path) => lstatSync(path).uid !== user)
  }

  [Symbol.dispose](): void {
    rmSync(this.#base, { recursive: true, force: true })
  }

  #paths(): readonly string[] {
    return readdirSync(this.folder, { recursive: true, encoding: 'utf8' }).map((path) => join(this.folder, path))
  }
}
