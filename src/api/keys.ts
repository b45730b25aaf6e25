/**
 * Keys and ids. Public ones are branded bytes or text, so that one cannot stand in for another; secret ones are a
 * class that cannot be printed.
 */

import { inspect } from 'node:util'
import { toHex, wipe } from '../util/bytes.ts'

declare const brand: unique symbol

export type Branded<T, Name extends string> = T & { readonly [brand]: Name }

/** WireGuard static public key, 32 bytes (X25519). */
export type TunnelPublicKey = Branded<Uint8Array, 'TunnelPublicKey'>

/** Ed25519 identity key of a device, 32 bytes. It signs the inner key agreement. */
export type IdentityPublicKey = Branded<Uint8Array, 'IdentityPublicKey'>

/** SHA-1 over an OTR v3 DSA public key, 20 bytes (OTR v3, "Public keys, signatures, and fingerprints"). */
export type OtrFingerprint = Branded<Uint8Array, 'OtrFingerprint'>

/** Bytes that must never be shown: printing, logging or serialising one gives `[secret]`. */
export class SecretKey {
  readonly #bytes: Uint8Array

  /** Takes the bytes over: the caller must not keep or change them. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** The bytes themselves, not a copy: do not change or store them. */
  reveal(): Uint8Array {
    return this.#bytes
  }

  wipe(): void {
    wipe(this.#bytes)
  }

  toString(): string {
    return '[secret]'
  }

  toJSON(): string {
    return '[secret]'
  }

  static {
    Object.defineProperty(SecretKey.prototype, inspect.custom, { value: () => '[secret]' })
  }
}

/** A public key or fingerprint of the named kind, `undefined` when the length is wrong. */
export function tunnelPublicKey(bytes: Uint8Array): TunnelPublicKey | undefined {
  return bytes.length === 32 ? (bytes as TunnelPublicKey) : undefined
}

export function identityPublicKey(bytes: Uint8Array): IdentityPublicKey | undefined {
  return bytes.length === 32 ? (bytes as IdentityPublicKey) : undefined
}

export function otrFingerprint(bytes: Uint8Array): OtrFingerprint | undefined {
  return bytes.length === 20 ? (bytes as OtrFingerprint) : undefined
}

/** The first 8 hex digits: enough for a log line. */
export function shortKey(bytes: Uint8Array): string {
  return toHex(bytes.subarray(0, 4))
}

/** An OTR fingerprint as people compare it: five groups of eight upper-case hex digits. */
export function formatFingerprint(fingerprint: OtrFingerprint): string {
  const hex = toHex(fingerprint).toUpperCase()
  return (hex.match(/.{8}/g) ?? []).join(' ')
}
