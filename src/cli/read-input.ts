/** Cards and codes from standard input or a file, of a size that makes sense. */

import { usage } from './command.ts'

/** A code is some 300 bytes; what is far larger is something else. */
const maximumLength = 16 * 1024

/** @throws PunchGuardError USAGE when it is far too long for a card or a code */
export async function readInput(stream: AsyncIterable<Uint8Array | string>): Promise<string> {
  let text = ''
  for await (const chunk of stream) {
    text += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('latin1')
    if (text.length > maximumLength) {
      throw usage('this is far too long for a card or an invite', 'give the text that begins with pg')
    }
  }
  return text
}
