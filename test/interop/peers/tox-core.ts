/**
 * A c-toxcore client as a child process, driven by JSON lines on standard input. Bound with koffi to the public API of
 * libtoxcore.so.2 (tox.h), by names and constants only. Callbacks only write down what happened: nothing is called
 * into the library from inside one.
 *
 * in:  {do: 'start', secretKey?, bootstrap: [{port, key}], friends: [key]} · add {address, text} · accept {key}
 *      · send {key, kind: 'message' | 'custom', texts} · stop · version
 * out: {event: 'ready', address, key, port, version} · online · offline · request · message  · custom
 */

import { createInterface } from 'node:readline'
import koffi, { type TypeObject } from 'koffi'
import type { Line } from './child.ts'

const library = koffi.load('libtoxcore.so.2')
koffi.opaque('Tox')
koffi.opaque('Tox_Options')
const statusCallback = koffi.proto('void status_callback(Tox *tox, uint32_t friend, int status, void *data)')
const requestCallback = koffi.proto(
  'void request_callback(Tox *tox, const uint8_t *key, const uint8_t *message, size_t length, void *data)',
)
const messageCallback = koffi.proto(
  'void message_callback(Tox *tox, uint32_t friend, int type, const uint8_t *message, size_t length, void *data)',
)
const packetCallback = koffi.proto(
  'void packet_callback(Tox *tox, uint32_t friend, const uint8_t *bytes, size_t length, void *data)',
)

const tox = {
  version: ['major', 'minor', 'patch'].map((part) => library.func(`uint32_t tox_version_${part}()`)),
  newOptions: library.func('Tox_Options *tox_options_new(void *error)'),
  freeOptions: library.func('void tox_options_free(Tox_Options *options)'),
  setIpv6: library.func('void tox_options_set_ipv6_enabled(Tox_Options *options, bool value)'),
  setDiscovery: library.func('void tox_options_set_local_discovery_enabled(Tox_Options *options, bool value)'),
  setSavedType: library.func('void tox_options_set_savedata_type(Tox_Options *options, int value)'),
  setSaved: library.func(
    'void tox_options_set_savedata_data(Tox_Options *options, const uint8_t *bytes, size_t length)',
  ),
  create: library.func('Tox *tox_new(Tox_Options *options, _Out_ int *error)'),
  kill: library.func('void tox_kill(Tox *tox)'),
  interval: library.func('uint32_t tox_iteration_interval(Tox *tox)'),
  iterate: library.func('void tox_iterate(Tox *tox, void *data)'),
  bootstrap: library.func(
    'bool tox_bootstrap(Tox *tox, const char *host, uint16_t port, const uint8_t *key, void *error)',
  ),
  address: library.func('void tox_self_get_address(Tox *tox, _Out_ uint8_t *address)'),
  secretKey: library.func('void tox_self_get_secret_key(Tox *tox, _Out_ uint8_t *key)'),
  port: library.func('uint16_t tox_self_get_udp_port(Tox *tox, void *error)'),
  dhtKey: library.func('void tox_self_get_dht_id(Tox *tox, _Out_ uint8_t *key)'),
  add: library.func(
    'uint32_t tox_friend_add(Tox *tox, const uint8_t *address, const uint8_t *message, size_t length, _Out_ int *error)',
  ),
  accept: library.func('uint32_t tox_friend_add_norequest(Tox *tox, const uint8_t *key, _Out_ int *error)'),
  friendKey: library.func('bool tox_friend_get_public_key(Tox *tox, uint32_t friend, _Out_ uint8_t *key, void *error)'),
  friendOf: library.func('uint32_t tox_friend_by_public_key(Tox *tox, const uint8_t *key, void *error)'),
  sendMessage: library.func(
    'uint32_t tox_friend_send_message(Tox *tox, uint32_t friend, int type, const uint8_t *message, size_t length, _Out_ int *error)',
  ),
  sendCustom: library.func(
    'bool tox_friend_send_lossless_packet(Tox *tox, uint32_t friend, const uint8_t *bytes, size_t length, _Out_ int *error)',
  ),
  onStatus: library.func('void tox_callback_friend_connection_status(Tox *tox, status_callback *callback)'),
  onRequest: library.func('void tox_callback_friend_request(Tox *tox, request_callback *callback)'),
  onMessage: library.func('void tox_callback_friend_message(Tox *tox, message_callback *callback)'),
  onCustom: library.func('void tox_callback_friend_lossless_packet(Tox *tox, packet_callback *callback)'),
}

const version = tox.version.map((part) => Number(part())).join('.')
const savedataIsSecretKey = 2
const customId = 160

interface Sending {
  readonly key: Uint8Array
  readonly kind: string
  readonly texts: string[]
}

let handle: unknown
const sending: Sending[] = []
const events: (Line & { readonly friend?: number })[] = []

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex').toUpperCase()
}

function taken(pointer: unknown, length: number | bigint): Buffer {
  const decoded: unknown = koffi.decode(pointer, koffi.array('uint8_t', Number(length), 'Typed'))
  if (!(decoded instanceof Uint8Array)) throw new Error('Expected bytes')
  return Buffer.from(decoded)
}

function filled(length: number, fill: (bytes: Uint8Array) => void): string {
  const bytes = new Uint8Array(length)
  fill(bytes)
  return hex(bytes)
}

function friendKey(friend: number): string {
  return filled(32, (bytes) => tox.friendKey(handle, friend, bytes, null))
}

function start(command: Line): void {
  const options: unknown = tox.newOptions(null)
  tox.setIpv6(options, false)
  tox.setDiscovery(options, false)
  if (typeof command.secretKey === 'string') {
    const secretKey = Buffer.from(command.secretKey, 'hex')
    tox.setSavedType(options, savedataIsSecretKey)
    tox.setSaved(options, secretKey, secretKey.length)
  }
  const error = [0]
  handle = tox.create(options, error)
  tox.freeOptions(options)
  if (error[0] !== 0) throw new Error(`tox_new: error ${error[0]}`)
  const register = (prototype: TypeObject, listener: (...args: never[]) => void): unknown =>
    koffi.register(listener, koffi.pointer(prototype))
  tox.onStatus(
    handle,
    register(statusCallback, (_tox: unknown, friend: number, status: number) => {
      events.push({ event: status === 0 ? 'offline' : 'online', friend })
    }),
  )
  tox.onRequest(
    handle,
    register(requestCallback, (_tox: unknown, key: unknown, message: unknown, length: number) => {
      events.push({ event: 'request', key: hex(taken(key, 32)), text: taken(message, length).toString() })
    }),
  )
  tox.onMessage(
    handle,
    register(messageCallback, (_tox: unknown, friend: number, _type: number, message: unknown, length: number) => {
      events.push({ event: 'message', friend, text: taken(message, length).toString() })
    }),
  )
  tox.onCustom(
    handle,
    register(packetCallback, (_tox: unknown, friend: number, bytes: unknown, length: number) => {
      events.push({ event: 'custom', friend, text: taken(bytes, length).subarray(1).toString() })
    }),
  )
  for (const node of list(command.bootstrap)) {
    tox.bootstrap(handle, '127.0.0.1', Number(node.port), Buffer.from(String(node.key), 'hex'), null)
  }
  for (const friend of list(command.friends)) accept(String(friend.key))
  say({
    event: 'ready',
    address: filled(38, (bytes) => tox.address(handle, bytes)),
    secretKey: filled(32, (bytes) => tox.secretKey(handle, bytes)),
    dhtKey: filled(32, (bytes) => tox.dhtKey(handle, bytes)),
    port: Number(tox.port(handle, null)),
    version,
  })
  iterate()
}

function iterate(): void {
  if (handle === undefined) return
  tox.iterate(handle, null)
  for (const { friend, ...event } of events.splice(0)) {
    say(typeof friend === 'number' ? { ...event, key: friendKey(friend) } : event)
  }
  for (const one of sending) flush(one)
  setTimeout(iterate, Number(tox.interval(handle)))
}

/** Sends until the library's own queue is full; the rest follows after the next iteration. */
function flush(one: Sending): void {
  const friend: unknown = tox.friendOf(handle, one.key, null)
  for (let text = one.texts[0]; text !== undefined; text = one.texts[0]) {
    const bytes = Buffer.from(text)
    const error = [0]
    if (one.kind === 'message') tox.sendMessage(handle, friend, 0, bytes, bytes.length, error)
    else tox.sendCustom(handle, friend, Buffer.concat([Buffer.of(customId), bytes]), bytes.length + 1, error)
    if (error[0] !== 0) return
    one.texts.shift()
  }
}

function accept(key: string): void {
  const error = [0]
  tox.accept(handle, Buffer.from(key, 'hex'), error)
  if (error[0] !== 0) throw new Error(`tox_friend_add_norequest: error ${error[0]}`)
}

function add(address: string, text: string): void {
  const error = [0]
  const message = Buffer.from(text)
  tox.add(handle, Buffer.from(address, 'hex'), message, message.length, error)
  if (error[0] !== 0) throw new Error(`tox_friend_add: error ${error[0]}`)
}

function list(value: unknown): readonly Line[] {
  return Array.isArray(value) ? value : []
}

function say(line: Line): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const command: Line = JSON.parse(line)
    const key = String(command.key)
    switch (command.do) {
      case 'start':
        start(command)
        break
      case 'add':
        add(String(command.address), String(command.text))
        break
      case 'accept':
        accept(key)
        break
      case 'send': {
        const texts = Array.isArray(command.texts) ? command.texts.map(String) : []
        sending.push({ key: Buffer.from(key, 'hex'), kind: String(command.kind), texts })
        break
      }
      case 'stop':
        tox.kill(handle)
        return process.exit(0)
      case 'version':
        say({ event: 'version', version })
        break
      default:
        throw new Error(`Unknown command: ${line}`)
    }
  })
  .on('close', () => process.exit(0))
