/** AssemblyScript: what the data plane calls, one module for both workers. Its TypeScript face is packet-memory.ts. */

export {
  beginOpenTag,
  beginSealTag,
  endOpenTag,
  endSealTag,
  finishOpen,
  openPacket,
  prepareOpen,
  sealPacket,
  writeMacTrailer,
} from './aead.as'
export { checksumOf, sumWords } from './bytes.as'
export { allowCoalescing, finishGroup, forgetGroups, isStream, joinGroup, startGroup } from './coalesce.as'
export {
  CHACHA_STATE,
  KEYSTREAM,
  NONCE,
  POLY1305_CONTEXT,
  SAVED,
  TAG,
  VECTORS,
} from './layout.as'
export { beginState, endState, recognizeState } from './poly1305-state.as'
export { startWindow } from './replay.as'
export { plannedLength, planSegments, segmentAddress, segmentLength, writeSegment } from './segment.as'
export {
  acceptMessage,
  beginMessage,
  beginOpen,
  beginSegment,
  endMessage,
  isTransport,
  packetLength,
  receiverOf,
} from './transport.as'
export { setBase, setVector } from './vectors.as'
