/** Reading what a StateStore gave back: a value of the wrong shape is a damaged file, said with what to do. */

import * as v from 'valibot'
import { PunchGuardError } from '../api/errors.ts'
import { SecretKey } from '../api/keys.ts'
import { fromBase64, toBase64 } from '../util/bytes.ts'

/** Base64 of bytes that `accept` turns into what is wanted, or refuses with `undefined`. */
export function storedBytes<T>(accept: (bytes: Uint8Array) => T | undefined): v.GenericSchema<string, T> {
  return v.pipe(
    v.string(),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      const bytes = fromBase64(dataset.value)
      const value = bytes === undefined ? undefined : accept(bytes)
      if (value !== undefined) return value
      addIssue({ message: 'is damaged' })
      return NEVER
    }),
  )
}

/** Base64 of a secret of exactly `length` bytes. */
export function storedSecret(length: number): v.GenericSchema<string, SecretKey> {
  return storedBytes((bytes) => (bytes.length === length ? new SecretKey(bytes) : undefined))
}

/** What `storedSecret` reads. */
export function storeSecret(secret: SecretKey): string {
  return toBase64(secret.reveal())
}

/** @throws PunchGuardError STATE_DAMAGED, naming the value and the place in it, never its content */
export function readStored<T>(
  value: unknown,
  options: { readonly name: string; readonly schema: v.GenericSchema<unknown, T>; readonly hint: string },
): T {
  const parsed = v.safeParse(options.schema, value)
  if (parsed.success) return parsed.output
  const place = v.getDotPath(parsed.issues[0])
  const where = place === null ? '' : ` (${place})`
  throw new PunchGuardError('STATE_DAMAGED', `the stored ${options.name} is damaged${where}`, { hint: options.hint })
}
