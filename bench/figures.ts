/** How a bench says what it measured: a table for people, and as its last line one JSON object. */

export interface Figure {
  readonly name: string
  /** NaN when nothing was measured. */
  readonly value: number
  readonly unit: string
  /** Samples of which the value is the median. */
  readonly runs: number
  /** The highest value that passes; absent: only printed. */
  readonly bar?: number
  /** The bar is the lowest value that passes. */
  readonly more?: true
  /** Who did the same in the same run, and its value. */
  readonly peer?: string
  readonly peer_value?: number
}

export function passes({ value, bar, more, runs }: Figure): boolean {
  return runs > 0 && (bar === undefined || (more ? value >= bar : value <= bar))
}

/** Prints to standard output, with `json` the table to standard error. Returns whether every bar is met. */
export function printFigures(
  figures: readonly Figure[],
  options: { readonly json: boolean; readonly failures: readonly string[] },
): boolean {
  const ok = options.failures.length === 0 && figures.every(passes)
  const table = options.json ? process.stderr : process.stdout
  for (const line of tableOf(figures)) table.write(`${line}\n`)
  for (const failure of options.failures) table.write(`failed: ${failure}\n`)
  if (options.json) {
    const rounded = figures.map(({ value, peer_value: peerValue, ...rest }) => ({
      ...rest,
      value: round(value),
      ...(peerValue === undefined ? {} : { peer_value: round(peerValue) }),
    }))
    process.stdout.write(`${JSON.stringify({ figures: rounded, failures: options.failures, ok })}\n`)
  }
  return ok
}

function tableOf(figures: readonly Figure[]): readonly string[] {
  const rows = figures.map((figure) => {
    const { name, unit, runs, bar, peer, peer_value: peerValue } = figure
    return [
      name,
      shown(figure.value),
      unit,
      String(runs),
      bar === undefined ? '' : `${figure.more ? '>=' : '<='} ${shown(bar)}`,
      bar === undefined ? '' : passes(figure) ? 'met' : 'MISSED',
      peer === undefined || peerValue === undefined ? '' : `${peer} ${shown(peerValue)}`,
    ]
  })
  const all = [['figure', 'median', 'unit', 'runs', 'bar', '', 'peer'], ...rows]
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? []
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

function shown(value: number): string {
  return String(round(value) ?? '-')
}

/** Three digits after the point; what was not measured is null. */
function round(value: number): number | null {
  return Number.isFinite(value) ? Math.round(value * 1000) / 1000 : null
}
