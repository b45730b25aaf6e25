/**
 * The first and only file system of the virtual machine: busybox, the programs named with their libraries, Node.js, this
 * program as it was built and the packages it needs. Its init loads the modules, runs one program and switches off.
 */

import { execFile } from 'node:child_process'
import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type ArchiveEntry, encodeArchive } from './archive.ts'
import { type KernelPackage, moduleFiles } from './kernel-package.ts'

const run = promisify(execFile)

const { PATH: path = '' } = process.env

const root = fileURLToPath(new URL('../../../', import.meta.url))

export interface ImageOptions {
  readonly kernel: KernelPackage
  readonly modules: readonly string[]
  /** Programs of this machine, by name. */
  readonly programs: readonly string[]
  /** Run in the machine: a module of dist/, relative to it, and its arguments, words without blanks. */
  readonly command: readonly string[]
}

export async function makeImage(options: ImageOptions): Promise<Uint8Array> {
  const files = new Map<string, ArchiveEntry>()
  const put = (path: string, bytes: Uint8Array, mode = 0o644): void => {
    files.set(path, { kind: 'file', path, bytes, mode })
  }
  for (const name of [...options.programs, process.execPath]) await putProgram(await whereIs(name), put)
  await putProgram(await whereIs('busybox'), put, 'bin')
  files.set('bin/sh', { kind: 'link', path: 'bin/sh', target: 'busybox' })
  const modules = await moduleFiles(options.kernel, options.modules)
  for (const file of modules) put(`modules/${basename(file)}`, await readFile(file))
  await putTree(join(root, 'dist'), put, (file) =>
    /^(src|bench|lab|test\/vm)\/.*(?<!\.test)\.(js|json)$|\.wasm$/.test(file),
  )
  put('app/package.json', await readFile(join(root, 'package.json')))
  for (const name of await neededPackages()) {
    await putTree(join(root, 'node_modules', name), put, (file) => /\.(js|cjs|mjs|json|node|wasm)$/.test(file))
  }
  put('init', Buffer.from(initScript(options, modules)), 0o755)
  return encodeArchive([...foldersOf(files.keys()), ...files.values()])
}

type Put = (path: string, bytes: Uint8Array, mode?: number) => void

function initScript({ command }: ImageOptions, modules: readonly string[]): string {
  return `#!/bin/busybox sh
export PATH=/usr/local/bin:/bin HOME=/tmp
/bin/busybox --install -s /bin
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox mount -t tmpfs tmp /tmp
busybox mount -t tmpfs run /run
${modules.map((file) => `busybox insmod /modules/${basename(file)}`).join('\n')}
busybox ip link set lo up
echo
node /app/dist/${command.join(' ')}
busybox poweroff -f
`
}

async function whereIs(program: string): Promise<string> {
  if (program.startsWith('/')) return realpath(program)
  const { stdout } = await run('which', [program], { env: { PATH: `${path}:/usr/sbin:/sbin` } })
  return realpath(stdout.trim())
}

/** With the libraries it is linked with, each where it is here. */
async function putProgram(path: string, put: Put, folder = 'usr/local/bin'): Promise<void> {
  put(join(folder, basename(path)), await readFile(path), 0o755)
  // It fails for a program that is linked with none.
  const { stdout } = await run('ldd', [path]).catch(() => ({ stdout: '' }))
  for (const [library] of stdout.matchAll(/\/\S+/g)) put(library.slice(1), await readFile(library), 0o755)
}

async function putTree(folder: string, put: Put, wanted: (file: string) => boolean): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile() && wanted(relative(folder, path))) put(join('app', relative(root, path)), await readFile(path))
  }
}

/** The dependencies of this program and theirs, as far as they are installed. */
async function neededPackages(): Promise<ReadonlySet<string>> {
  const needed = new Set<string>()
  const add = async (name: string): Promise<void> => {
    const folder = join(root, 'node_modules', name)
    if (needed.has(name) || !(await stat(folder).catch(() => undefined))) return
    needed.add(name)
    for (const other of await dependenciesOf(folder)) await add(other)
  }
  for (const name of await dependenciesOf(root)) await add(name)
  return needed
}

async function dependenciesOf(folder: string): Promise<readonly string[]> {
  const { dependencies = {}, optionalDependencies = {} } = JSON.parse(
    await readFile(join(folder, 'package.json'), 'utf8'),
  )
  return [...Object.keys(dependencies), ...Object.keys(optionalDependencies)]
}

/** Each once, the outer before the inner. */
function foldersOf(files: Iterable<string>): readonly ArchiveEntry[] {
  const folders = new Set(['proc', 'sys', 'dev', 'tmp', 'run', 'etc', 'var'])
  const add = (path: string): void => {
    if (path === '.' || folders.has(path)) return
    add(dirname(path))
    folders.add(path)
  }
  for (const file of files) add(dirname(file))
  return [...folders].map((path) => ({ kind: 'folder', path }))
}
