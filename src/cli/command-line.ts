/**
 * The table of commands, and running one of them. A command's code is loaded when it is called: `punchguard status`
 * must not wait for what only the daemon needs.
 */

import { existsSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { errorMessage, PunchGuardError } from '../api/errors.ts'
import type { CreateDevice } from '../daemon/daemon.ts'
import { rootStateFolder } from '../daemon/paths.ts'
import { nearestName } from '../util/nearest-name.ts'
import { version } from '../util/version.ts'
import { commandContext, type RunCommand, usage } from './command.ts'
import { printError } from './terminal.ts'

export interface CommandRow {
  readonly name: string
  /** In commander's notation. */
  readonly positional?: string
  readonly summary: string
  readonly options: readonly (readonly [flags: string, description: string])[]
  /** Options that are not for people. */
  readonly hidden?: readonly (readonly [flags: string, description: string])[]
  readonly load: () => Promise<{ readonly run: RunCommand }>
}

const json = ['--json', 'print JSON, one value a line'] as const
const yes = ['-y, --yes', 'do not ask'] as const

/** In the order of the help text. */
export const commandRows: readonly CommandRow[] = [
  {
    name: 'pair',
    positional: '[code]',
    summary: 'pair with another device: without CODE print an invite, with CODE (or - for standard input) use one',
    options: [
      ['--name <name>', 'the name of this device on the others'],
      ['--for <duration>', 'how long the invite is valid (10m), or how long to try CODE (2m)'],
      ['--no-wait', 'print the invite and go; pairing goes on in the background'],
      json,
      yes,
    ],
    load: () => import('./commands/pair.ts'),
  },
  {
    name: 'up',
    summary: 'open the tunnel and keep every peer connected, now and after a restart',
    options: [['--wait [duration]', 'wait until every peer is connected (30s)'], json],
    load: () => import('./commands/up.ts'),
  },
  {
    name: 'down',
    summary: 'close the tunnel',
    options: [json],
    load: () => import('./commands/down.ts'),
  },
  {
    name: 'status',
    summary: 'show this device and its peers (also what bare "punchguard" does)',
    options: [json],
    load: () => import('./commands/status.ts'),
  },
  {
    name: 'forget',
    positional: '<peer>',
    summary: 'unpin a peer and cut it off',
    options: [yes, json],
    load: () => import('./commands/forget.ts'),
  },
  {
    name: 'export',
    positional: '[file]',
    summary: "print this device's card, or write it to FILE",
    options: [json],
    load: () => import('./commands/export.ts'),
  },
  {
    name: 'import',
    positional: '[card]',
    summary: "pin another device's card: the card itself, a file, or - for standard input",
    options: [json],
    load: () => import('./commands/import.ts'),
  },
  {
    name: 'daemon',
    summary: 'run the daemon in the foreground (pair and up start it by themselves)',
    options: [['--verbose', 'log debug lines too']],
    hidden: [['--background', 'started by another command']],
    load: () => import('./commands/daemon.ts'),
  },
  {
    name: 'stop',
    summary: 'end the daemon; the tunnel closes until it starts again',
    options: [json],
    load: () => import('./commands/stop.ts'),
  },
  {
    name: 'logs',
    summary: "print the daemon's log",
    options: [
      ['-f, --follow', 'go on printing'],
      ['-n, --lines <count>', 'the last lines only (100)'],
    ],
    load: () => import('./commands/logs.ts'),
  },
  {
    name: 'version',
    summary: 'print the version',
    options: [json],
    load: () => import('./commands/version.ts'),
  },
]

const examples = `
Example, a private network between two devices:
  first device    $ sudo punchguard pair               prints an invite
  second device   $ sudo punchguard pair pgi1…         uses it
  both            $ sudo punchguard up
                  $ sudo punchguard status`

/** Runs one command line; resolves with the exit status. Never rejects. */
export async function runCommandLine(
  words: readonly string[],
  options: { readonly createDevice: CreateDevice },
): Promise<number> {
  try {
    await commandLine(options.createDevice).parseAsync(withDefault(words), { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0
      printError(usageError(error, words))
      return 2
    }
    if (error instanceof PunchGuardError) {
      printError(isAboutAnotherDevice(error) ? { message: error.message, hint: rootHint } : error)
      return error.code === 'USAGE' ? 2 : 1
    }
    printError({ message: errorMessage(error), hint: 'this is a fault of PunchGuard; the next lines say where' })
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
    return 1
  }
}

const rootHint = 'this user has a device of its own; root has one too: sudo punchguard …'

/** A user asks for the daemon of its own folder, and probably means root's. */
function isAboutAnotherDevice(error: PunchGuardError): boolean {
  const { PUNCHGUARD_DIR: chosen = '' } = process.env
  const isRoot = process.getuid?.() === 0
  return (
    error.code === 'DAEMON_NOT_RUNNING' && !isRoot && chosen === '' && existsSync(rootStateFolder(process.platform))
  )
}

/** Bare `punchguard` is `status`, with its options. */
function withDefault(words: readonly string[]): readonly string[] {
  const [first] = words
  if (first === undefined) return ['status']
  const forProgram = ['-h', '--help', '-V', '--version'].includes(first)
  return first.startsWith('-') && !forProgram ? ['status', ...words] : words
}

function commandLine(createDevice: CreateDevice): Command {
  const program = new Command('punchguard')
    .description('A private network between devices behind NAT: no account, no login, no server.')
    .version(version, '-V, --version', 'print the version')
    .helpCommand(false)
    .addHelpText('after', examples)
  for (const row of commandRows) {
    const command = program.command(row.positional === undefined ? row.name : `${row.name} ${row.positional}`)
    command.description(row.summary).allowExcessArguments(false)
    for (const [flags, description] of row.options) command.option(flags, description)
    for (const [flags, description] of row.hidden ?? [])
      command.addOption(command.createOption(flags, description).hideHelp())
    command.action(async () => {
      const { run } = await row.load()
      await run(commandContext(createDevice), { positional: command.args, options: command.opts() })
    })
  }
  for (const command of [program, ...program.commands]) {
    command
      .exitOverride()
      .showSuggestionAfterError(false)
      .configureOutput({ writeErr: () => {} })
  }
  return program
}

/** Commander's complaint as an error of ours: nearest names, no capital, no stack. */
function usageError(error: CommanderError, words: readonly string[]): PunchGuardError {
  const message = error.message.replace(/^error: /, '').replace(/\.? Expected .*$/, '')
  const known = commandRows.map((row) => row.name)
  const [command = ''] = words
  if (error.code === 'commander.unknownCommand') {
    const nearest = nearestName(command, known)
    return usage(
      `unknown command "${command}"`,
      nearest === undefined ? `the commands are: ${known.join(', ')}` : `did you mean "${nearest}"?`,
    )
  }
  const row = commandRows.find(({ name }) => name === command)
  const wrong = /unknown option '([^'=]+)/.exec(message)?.[1]
  const flags = row?.options.map(([text]) => /--[a-z-]+/.exec(text)?.[0] ?? '') ?? []
  const nearest = wrong === undefined ? undefined : nearestName(wrong, flags)
  return usage(
    message,
    nearest === undefined
      ? `punchguard ${row === undefined ? '' : `${row.name} `}--help`
      : `did you mean "${nearest}"?`,
  )
}
