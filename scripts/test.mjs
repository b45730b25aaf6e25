// npm test [-- PART ...]: builds, lints, then runs every test that needs no privileges and, as root on Linux, the
// namespace end-to-end tests too. With PARTs, only test files whose path contains one of them. Says what it skipped.

import { join, relative } from 'node:path'
import { files, prepare, root, run, statusOf } from './prepare.mjs'

await prepare()
const parts = process.argv.slice(2)
const chosen = (file) => parts.length === 0 || parts.some((part) => relative(root, file).includes(part))
if (parts.length === 0)
  await run(process.execPath, [join(root, 'node_modules', '@biomejs', 'biome', 'bin', 'biome'), 'check', '.'])

const dist = join(root, 'dist')
const all = ['src', 'lab', 'test', 'bench'].flatMap((folder) => files(join(dist, folder), '.test.js')).filter(chosen)
const endToEnd = all.filter((file) => file.includes(join('test', 'e2e')))
const unprivileged = all.filter((file) => !endToEnd.includes(file))
if (all.length === 0) {
  console.error('punchguard: error: no test file was found')
  process.exit(1)
}

/** A test, or a file of them, that takes longer hangs, ms. */
const longestTest = 600_000

const isRoot = process.platform === 'linux' && process.getuid() === 0
let status = await test(unprivileged, 2)
if (endToEnd.length > 0) {
  if (isRoot) status = (await test(endToEnd, 1)) || status
  else console.log('\nSkipped: the namespace end-to-end tests need root on Linux: sudo npm test -- test/e2e')
}
process.exit(status)

async function test(testFiles, concurrency) {
  if (testFiles.length === 0) return 0
  const reporters = ['spec', join(root, 'scripts', 'skipped-reporter.mjs')]
  const args = ['--enable-source-maps', '--test', `--test-concurrency=${concurrency}`, `--test-timeout=${longestTest}`]
  for (const reporter of reporters) args.push(`--test-reporter=${reporter}`, '--test-reporter-destination=stdout')
  return await statusOf(process.execPath, [...args, ...testFiles])
}
