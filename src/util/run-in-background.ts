/** The one place where a promise is not awaited: its failure goes to `report`, never to an unhandled rejection. */
export function runInBackground(promise: Promise<unknown>, report: (error: unknown) => void): void {
  promise.then(undefined, report)
}
