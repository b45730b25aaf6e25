// A second reporter of the test runner: says at the end, aloud, what was skipped and why, and fails a run of nothing.

export default async function* skippedReporter(source) {
  const skipped = []
  let passed = 0
  for await (const event of source) {
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue
    if (event.data.skip !== undefined) skipped.push([event.data.name, event.data.skip])
    else if (event.type === 'test:pass') passed++
  }
  if (passed === 0) {
    process.exitCode = 1
    yield '\nNo test ran.\n'
  }
  if (skipped.length > 0) yield `\nSkipped ${skipped.length}:\n`
  for (const [name, reason] of skipped) yield `  ${name}: ${reason === true ? 'no reason given' : reason}\n`
}
