/** How long to wait before a lost tunnel is opened again: not at all at first, longer each time that does not help. */

const firstPause = 1000
const longestPause = 60_000
/** A tunnel that lived so long was opened well, ms. */
const longLife = 10_000

export class Reopening {
  #failures = 0

  /** ms to wait now that a tunnel was lost which lived for `lived` ms; 0 for one that could not be opened. */
  next(lived: number): number {
    if (lived >= longLife) this.#failures = 0
    const failures = this.#failures++
    return failures === 0 ? 0 : Math.min(longestPause, firstPause * 2 ** Math.min(failures - 1, 16))
  }
}
