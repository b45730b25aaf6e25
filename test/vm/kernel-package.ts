/**
 * Debian's kernel for cloud machines, which has WireGuard as a module: downloaded once with apt-get into the user's cache
 * folder and unpacked there, not installed.
 */

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const metaPackage = 'linux-image-cloud-amd64'

export interface KernelPackage {
  /** `6.1.0-56-cloud-amd64` */
  readonly version: string
  readonly image: string
  /** Folder of its modules. */
  readonly modules: string
}

/** @throws when there is no package for this machine, or no way to get it */
export async function kernelPackage(): Promise<KernelPackage> {
  const { XDG_CACHE_HOME: cache = join(homedir(), '.cache') } = process.env
  const parent = join(cache, 'punchguard', 'kernel')
  const name = await newestPackage()
  const folder = join(parent, name)
  const isThere = await readdir(folder).then(
    () => true,
    () => false,
  )
  if (!isThere) {
    await mkdir(parent, { recursive: true })
    await download(name, { parent, folder })
  }
  const version = name.replace(/^linux-image-/, '')
  return { version, image: join(folder, `boot/vmlinuz-${version}`), modules: join(folder, 'lib/modules', version) }
}

async function newestPackage(): Promise<string> {
  const { stdout } = await run('apt-cache', ['depends', '--important', metaPackage])
  const name = /Depends: (linux-image-\S+)/.exec(stdout)?.[1]
  if (name === undefined) throw new Error(`no package ${metaPackage}`)
  return name
}

/** All or nothing: what is in `folder` is whole. */
async function download(
  name: string,
  { parent, folder }: { readonly parent: string; readonly folder: string },
): Promise<void> {
  const work = await mkdtemp(join(parent, 'download-'))
  try {
    await run('apt-get', ['download', name], { cwd: work })
    const archive = (await readdir(work)).find((file) => file.endsWith('.deb'))
    if (archive === undefined) throw new Error(`apt-get download ${name} gave no file`)
    const tree = join(work, 'tree')
    await run('dpkg-deb', ['-x', join(work, archive), tree])
    await rename(tree, folder)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Paths of a module and of those it needs, in the order in which they must be loaded. */
export async function moduleFiles(kernel: KernelPackage, names: readonly string[]): Promise<readonly string[]> {
  const all = await readdir(kernel.modules, { recursive: true })
  const files = new Map(
    all.filter((file) => file.endsWith('.ko')).map((file) => [moduleName(file), join(kernel.modules, file)]),
  )
  const ordered = new Set<string>()
  const add = async (name: string): Promise<void> => {
    const file = files.get(moduleName(name))
    // What is no module of its own is part of the kernel.
    if (file === undefined || ordered.has(file)) return
    for (const needed of dependencies(await readFile(file, 'latin1'))) await add(needed)
    ordered.add(file)
  }
  for (const name of names) await add(name)
  return [...ordered]
}

/** In the section .modinfo stands `depends=a,b` between zero bytes. */
function dependencies(module: string): readonly string[] {
  const names = /\0depends=([^\0]*)\0/.exec(module)?.[1] ?? ''
  return names.split(',').filter((name) => name !== '')
}

function moduleName(file: string): string {
  return basename(file, '.ko').replaceAll('-', '_')
}
