/**
 * A small language for tests of the command line, after Go's testscript. A script is a list of lines, then files:
 *
 *     [!] exec PROGRAM WORD ...     runs it; it must succeed (with `!`: fail)
 *     status N                      the last exit status was N
 *     [!] stdout|stderr REGEX       the last output matches (m flag)
 *     capture NAME REGEX            sets $NAME to the first group found in the last standard output
 *     env NAME=VALUE                sets a variable for later lines and programs
 *     stdin FILE                    standard input of the next program
 *     write FILE TEXT               writes a file; `\n` is a line break
 *     copy-stdout FILE              writes the last standard output to a file
 *     [!] exists FILE               with mode: `exists FILE 600`
 *     mkdir|rm FILE                 folders with their parents; anything, whole
 *     chmod MODE FILE
 *     -- FILE --                    ends the lines: what follows is the content of FILE, up to the next such line
 *
 * Words are separated by spaces; 'quotes' keep them together; $NAME and ${NAME} are replaced, also in quotes. A line that
 * begins with # is a comment. Every script runs in an empty folder, $WORK.
 */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmod, mkdir, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'

export interface ScriptOptions {
  readonly folder: string
  readonly environment: Readonly<Record<string, string>>
}

interface Outcome {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a script; throws with the number of the line that failed. The variables at the end are returned. */
export async function runScript(text: string, options: ScriptOptions): Promise<Readonly<Record<string, string>>> {
  const { folder } = options
  const { lines, files } = parseScript(text)
  const variables: Record<string, string> = { ...options.environment, WORK: folder }
  for (const [name, content] of files) await writeFile(resolve(folder, name), content)
  let last: Outcome = { status: 0, stdout: '', stderr: '' }
  let input: string | undefined
  for (const { number, line } of lines) {
    const [first = '', ...rest] = words(line, variables)
    const negated = first === '!'
    const [command = '', ...parameters] = negated ? rest : [first, ...rest]
    const [one = '', two = ''] = parameters
    const path = resolve(folder, one)
    const shown = `line ${number}: ${line}\n--- stdout\n${last.stdout}--- stderr\n${last.stderr}--- status ${last.status}`
    switch (command) {
      case 'exec': {
        last = await execute(parameters, { folder, variables, input })
        input = undefined
        const after = `line ${number}: ${line}\n--- stdout\n${last.stdout}--- stderr\n${last.stderr}--- status ${last.status}`
        assert.ok(negated ? last.status !== 0 : last.status === 0, after)
        break
      }
      case 'status':
        assert.equal(String(last.status), one, shown)
        break
      case 'stdout':
      case 'stderr':
        assert.equal(new RegExp(one, 'm').test(last[command]), !negated, shown)
        break
      case 'capture': {
        const found = new RegExp(two, 'm').exec(last.stdout)?.[1]
        assert.ok(found !== undefined, shown)
        variables[one] = found
        break
      }
      case 'env':
        variables[one.slice(0, one.indexOf('='))] = one.slice(one.indexOf('=') + 1)
        break
      case 'stdin':
        input = one
        break
      case 'write':
        await mkdir(dirname(path), { recursive: true, mode: 0o700 })
        await writeFile(path, two.replaceAll('\\n', '\n'))
        break
      case 'copy-stdout':
        await writeFile(path, last.stdout)
        break
      case 'exists': {
        const status = await stat(path).catch(() => undefined)
        assert.equal(status !== undefined, !negated, shown)
        if (two !== '') assert.equal(((status?.mode ?? 0) & 0o777).toString(8), two, shown)
        break
      }
      case 'mkdir':
        await mkdir(path, { recursive: true, mode: 0o700 })
        break
      case 'rm':
        await rm(path, { recursive: true })
        break
      case 'chmod':
        await chmod(resolve(folder, two), Number.parseInt(one, 8))
        break
      default:
        assert.fail(`line ${number}: there is no command "${command}"`)
    }
  }
  return variables
}

function parseScript(text: string): {
  readonly lines: readonly { readonly number: number; readonly line: string }[]
  readonly files: ReadonlyMap<string, string>
} {
  const files = new Map<string, string>()
  const [head = '', ...rest] = text.split(/^-- (.+) --\n/m)
  for (let at = 0; at + 1 < rest.length; at += 2) files.set(rest[at] ?? '', rest[at + 1] ?? '')
  const lines = head
    .split('\n')
    .map((line, index) => ({ number: index + 1, line: line.trim() }))
    .filter(({ line }) => line !== '' && !line.startsWith('#'))
  return { lines, files }
}

function words(line: string, variables: Readonly<Record<string, string>>): readonly string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) =>
    (quoted ?? plain ?? '').replace(
      /\$(?:\{([A-Z_]+)\}|([A-Z_]+))/g,
      (_, braced, bare) => variables[braced ?? bare] ?? '',
    ),
  )
}

function execute(
  [program = '', ...parameters]: readonly string[],
  options: {
    readonly folder: string
    readonly variables: Readonly<Record<string, string>>
    readonly input: string | undefined
  },
): Promise<Outcome> {
  const { folder, variables, input } = options
  return new Promise((done, failed) => {
    const child = spawn(program, parameters, { cwd: folder, env: variables, timeout: 20_000, killSignal: 'SIGKILL' })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      stdout += chunk
    })
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      stderr += chunk
    })
    child.once('error', failed)
    child.once('close', (status, signal) =>
      done({ status: status ?? -1, stdout, stderr: signal === null ? stderr : `${stderr}${signal}\n` }),
    )
    // A program that does not read its input must not stop the script.
    child.stdin.on('error', () => {})
    if (input === undefined) child.stdin.end()
    else
      void import('node:fs').then(({ createReadStream }) => createReadStream(resolve(folder, input)).pipe(child.stdin))
  })
}
