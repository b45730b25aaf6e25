// Installs what package-lock.json names and compiles the sources, each only when something changed.
// Used by every npm script, so that a fresh clone needs no other command first. Root does both as the owner of the clone.

import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

export const root = join(dirname(fileURLToPath(import.meta.url)), '..')

/** Runs a program in the clone with our standard streams; exits with its status when it fails. */
export async function run(program, args, options = {}) {
  const status = await statusOf(program, args, options)
  if (status !== 0) process.exit(status)
}

/** The exit status of a program. We outlive it: what asks us to stop is passed on, so that it takes itself down. */
export function statusOf(program, args, options = {}) {
  const child = spawn(program, args, { cwd: root, stdio: 'inherit', ...options })
  let asked
  const passOn = (name) => {
    asked = name
    child.kill(name)
  }
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const name of names) process.on(name, passOn)
  return new Promise((resolve) => {
    child.on('error', (error) => {
      console.error(`punchguard: error: ${program} could not be started: ${error.message}`)
      resolve(1)
    })
    child.on('exit', (status, signal) => {
      const ending = signal ?? (status === 0 ? undefined : asked)
      resolve(ending === undefined ? status : 128 + constants.signals[ending])
    })
  }).finally(() => {
    for (const name of names) process.off(name, passOn)
  })
}

/** Fails early and clearly on a Node.js that is too old. */
export function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  console.error(`punchguard: error: Node.js ${process.versions.node} is too old`)
  console.error('punchguard: hint: install Node.js 20.19 or newer')
  process.exit(1)
}

async function install() {
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
  const stamp = join(root, 'node_modules', '.installed')
  if (existsSync(stamp) && (readFileSync(stamp, 'utf8') === wanted || isInstalled())) return
  console.error('Installing dependencies (npm ci) ...')
  await run('npm', ['ci', '--no-fund', '--no-audit', '--loglevel=error'], { stdio: ['ignore', 2, 2] })
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

/** Runs a compiled program in this process: what ends one ends the other. */
export async function program(name) {
  process.setSourceMapsEnabled(true)
  await import(pathToFileURL(join(root, 'dist', name)))
}

const kernels = join('src', 'guard', 'dataplane')

/** Compiles the AssemblyScript of the data plane (kernels.as.ts and what it imports) to a module in base64. */
async function buildKernels() {
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
  await run(process.execPath, [join(root, 'node_modules', 'assemblyscript', 'bin', 'asc.js'), ...entry, ...options], {
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
async function build() {
  await buildKernels()
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
  await run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', '.'], {
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

/** Everything that must be there before a program of ours can run. */
export async function prepare() {
  checkNode()
  const owner = otherOwner()
  if (owner !== undefined) return await prepareAs(owner)
  await install()
  await build()
}

/** Who the clone belongs to, if that is somebody else and we are root: what we make in it is to be theirs. */
function otherOwner() {
  if (process.getuid?.() !== 0) return undefined
  const { uid, gid } = statSync(root)
  return uid === 0 ? undefined : { uid, gid }
}

async function prepareAs({ uid, gid }) {
  const look = ['--eval', 'fs.accessSync(process.argv[1], fs.constants.W_OK)', root]
  if ((await statusOf(process.execPath, look, { uid, gid, stdio: 'ignore' })) !== 0) {
    console.error('punchguard: error: root installs and builds as the owner of this folder, who may not write here')
    console.error('punchguard: hint: make the folder yours with: chown -R root .')
    process.exit(1)
  }
  const home = homeOf(uid)
  const temporary = home === undefined ? mkdtempSync(join(tmpdir(), 'punchguard-')) : undefined
  if (temporary !== undefined) chownSync(temporary, uid, gid)
  const env = { ...process.env, HOME: home ?? temporary }
  // npm tells its scripts which files of root's it uses.
  for (const name of ['cache', 'userconfig', 'init_module']) delete env[`npm_config_${name}`]
  const status = await statusOf(process.execPath, [join(root, 'scripts', 'build.mjs')], { uid, gid, env })
  if (temporary !== undefined) rmSync(temporary, { recursive: true, force: true })
  if (status !== 0) process.exit(status)
}

/** A user's home folder; undefined when the system does not know them, as in a container. */
function homeOf(uid) {
  const { status, stdout } = spawnSync('getent', ['passwd', String(uid)], { encoding: 'utf8' })
  return status === 0 ? stdout.split(':')[5] : undefined
}
