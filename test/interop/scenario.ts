/** One run against a program we did not write. Every file of this folder that tests a room exports `scenarios`. */

export interface InteropScenario {
  /** The program at the other end. */
  readonly peer: string
  readonly name: string
  /** What this machine lacks, with the one command that installs it; `undefined` when it has everything. */
  readonly missing: () => Promise<string | undefined>
  readonly version: () => Promise<string>
  /** If a minute is not enough, ms. */
  readonly timeLimit?: number
  /** Resolves with the result in a few words, throws on failure. Leaves no process and no file behind, also then. */
  readonly run: (options: { readonly signal: AbortSignal }) => Promise<string>
}
