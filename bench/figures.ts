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
    const rounded = figures.map(({ value, ...rest }) => ({ ...rest, value: round(value) }))
    process.stdout.write(`${JSON.stringify({ figures: rounded, ok })}\n`)
  }
  return ok
}

function tableOf(figures: readonly Figure[]): readonly string[] {
  const rows = figures.map((figure) => {
    const { name, value, unit, runs, bar } = figure
    const verdict = bar === undefined ? '' : passes(figure) ? 'met' : 'MISSED'
    const shown = round(value)
    return [
      name,
      shown === null ? '-' : String(shown),
      unit,
      String(runs),
      bar === undefined ? '' : `${figure.more ? '>=' : '<='} ${bar}`,
      verdict,
    ]
  })
  const all = [['figure', 'median', 'unit', 'runs', 'bar', ''], ...rows]
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? []
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

/** Three digits after the point; what was not measured is null. */
function round(value: number): number | null {
  return Number.isFinite(value) ? Math.round(value * 1000) / 1000 : null
}
