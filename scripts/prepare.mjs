// Installs what package-lock.json names and compiles the sources, each only when something changed.
// Used by every npm script, so that a fresh clone needs no other command first.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = join(dirname(fileURLToPath(import.meta.url)), '..')

/** Runs a program in the clone with our standard streams; exits with its status when it fails. */
export function run(program, args, options = {}) {
  const { status, signal, error } = spawnSync(program, args, { cwd: root, stdio: 'inherit', ...options })
  if (error !== undefined) console.error(`punchguard: error: ${program} could not be started: ${error.message}`)
  if (status !== 0 || signal !== null) process.exit(status ?? 1)
}

/** Fails early and clearly on a Node.js that is too old. */
export function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  console.error(`punchguard: error: Node.js ${process.versions.node} is too old`)
  console.error('punchguard: hint: install Node.js 20.19 or newer')
  process.exit(1)
}

export function install() {
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
  const stamp = join(root, 'node_modules', '.installed')
  if (existsSync(stamp) && (readFileSync(stamp, 'utf8') === wanted || isInstalled())) return
  console.error('Installing dependencies (npm ci) ...')
  run('npm', ['ci', '--no-fund', '--no-audit', '--loglevel=error'], { stdio: ['ignore', 2, 2] })
  writeFileSync(stamp, wanted)
}

/** Whether every package of package-lock.json is there in its version; those for other machines may be missing. */
function isInstalled() {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
  return Object.entries(packages).every(([path, { version, optional }]) => {
    const file = join(root, path, 'package.json')
    if (path === '' || (optional && !existsSync(file))) return true
    return existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).version === version
  })
}

const kernels = join('src', 'guard', 'dataplane')

/** Compiles the AssemblyScript of the data plane (kernels.as.ts and what it imports) to a module in base64. */
function buildKernels() {
  const sources = files(join(root, kernels), '.as.ts')
  const folder = join(root, kernels, 'generated')
  const generated = join(folder, 'kernels.ts')
  const newest = Math.max(...sources.map((file) => statSync(file).mtimeMs))
  if (existsSync(generated) && statSync(generated).mtimeMs >= newest) return
  console.error('Compiling (asc) ...')
  const wasm = join(folder, 'kernels.wasm')
  mkdirSync(folder, { recursive: true })
  const entry = [join(kernels, 'kernels.as.ts'), '--outFile', wasm, '--baseDir', root]
  const options = ['-O3', '--noAssert', '--runtime', 'stub', '--importMemory', '--enable', 'simd', '--use', 'abort=']
  run(process.execPath, [join(root, 'node_modules', 'assemblyscript', 'bin', 'asc.js'), ...entry, ...options], {
    stdio: ['ignore', 2, 2],
  })
  const base64 = readFileSync(wasm).toString('base64')
  rmSync(wasm)
  writeFileSync(
    generated,
    `/** Made by scripts/prepare.mjs of ${kernels}/*.as.ts. */\n\nexport const kernelsWasm: string =\n  '${base64}'\n`,
  )
}

const sourceFolders = ['src', 'lab', 'test', 'bench']

/** Compiles into dist/ and removes what no longer has a source. */
export function build() {
  buildKernels()
  const sources = sourceFolders
    .flatMap((folder) => files(join(root, folder), '.ts'))
    .filter((file) => !file.endsWith('.as.ts'))
  const stamp = join(root, 'dist', '.tsbuildinfo')
  const newest = Math.max(...[...sources, join(root, 'tsconfig.json')].map((file) => statSync(file).mtimeMs))
  const wanted = new Set(sources.map((file) => relative(root, file).replace(/\.ts$/, '.js')))
  const stale = files(join(root, 'dist'), '.js').filter((file) => !wanted.has(relative(join(root, 'dist'), file)))
  for (const file of stale)
    for (const end of ['.js', '.js.map', '.d.ts']) rmSync(file.replace(/\.js$/, end), { force: true })
  const compiled = files(join(root, 'dist'), '.js').length
  if (existsSync(stamp) && statSync(stamp).mtimeMs >= newest && compiled === sources.length) return
  if (compiled !== sources.length) rmSync(stamp, { force: true })
  console.error('Compiling (tsc) ...')
  run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', '.'], {
    stdio: ['ignore', 2, 2],
  })
}

/** All files below a folder that end so; none when there is no such folder. */
export function files(folder, ending) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort()
}

export function prepare() {
  checkNode()
  install()
  build()
}
