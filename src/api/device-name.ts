/**
 * Names of devices: what a person types after `forget` and what a card carries. Only letters, digits, dot, hyphen and
 * underscore, so that a name from another device can be printed, logged and used in a path without a second thought.
 */

const form = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,30}[A-Za-z0-9])?$/

/** What is wrong with a name that is refused, in words. */
export const deviceNameRule =
  '1 to 32 letters, digits, dots, hyphens or underscores, beginning and ending with a letter or digit'

export function isDeviceName(text: string): boolean {
  return form.test(text)
}

/** A device's default name: the first label of its host name, cut to the rule. */
export function deviceNameFromHost(hostName: string): string {
  const label = hostName.split('.')[0] ?? ''
  const name = label
    .replace(/[^A-Za-z0-9_-]+/g, '-')
    .slice(0, 32)
    .replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '')
  return name === '' ? 'device' : name
}

/** `name`, or with `-2`, `-3`, … added when it is taken. */
export function freeDeviceName(name: string, taken: readonly string[]): string {
  for (let count = 1; ; count++) {
    const end = count === 1 ? '' : `-${count}`
    const candidate = `${name.slice(0, 32 - end.length)}${end}`
    if (!taken.includes(candidate)) return candidate
  }
}
