/**
 * What the plain data plane and the control machine cost on one core without any system call: processor time of one
 * handshake at each end, and of one 1420-byte packet from inner packet to datagram and back.
 *
 *   node scripts/run.mjs bench/guard-plain.js [--json]
 */

import { SecretKey } from '../src/api/keys.ts'
import type { DataKeypair } from '../src/guard/dataplane/data-plane.ts'
import { PacketPath } from '../src/guard/dataplane/packet-path.ts'
import { ipv4Packet } from '../src/guard/testing/virtual-tunnel.ts'
import { parsePrefix } from '../src/guard/wireguard/allowed-ips.ts'
import { WireGuardDevice } from '../src/guard/wireguard/device.ts'
import type { DeviceEffect, Moment } from '../src/guard/wireguard/effects.ts'
import { systemRandom } from '../src/util/random.ts'
import { type Figure, printFigures } from './figures.ts'

const runs = 15
const handshakesARun = 50
const packetsARun = 2_000
const here = { address: '192.0.2.1', port: 1 }
const there = { address: '192.0.2.2', port: 2 }

/** Processor time of the whole process, us: what other programs do on a shared machine counts less than with a clock. */
function spent(action: () => void): number {
  const before = process.cpuUsage()
  action()
  const { user, system } = process.cpuUsage(before)
  return user + system
}

/** The median over the runs of one unit of work; the first run warms up. */
function figure(
  name: string,
  options: { readonly bar: number; readonly units: number; readonly run: () => number },
): Figure {
  const { bar, units, run } = options
  run()
  const values = Array.from({ length: runs }, () => run() / units).sort((a, b) => a - b)
  return { name, value: values[runs >> 1] ?? Number.NaN, unit: 'us', runs, bar }
}

function device(): WireGuardDevice {
  const privateKey = new SecretKey(systemRandom.bytes(32))
  return new WireGuardDevice({ privateKey, random: systemRandom, underLoadMessages: 1e9 })
}

function datagramOf(effects: readonly DeviceEffect[]): Uint8Array {
  for (const effect of effects) if (effect.kind === 'datagram') return effect.bytes
  throw new Error('No datagram came out')
}

function handshakeFigures(): readonly Figure[] {
  const [a, b] = [device(), device()]
  const toB = a.addPeer({ publicKey: b.publicKey, allowedIps: [] })?.peer ?? 0
  const toA = b.addPeer({ publicKey: a.publicKey, allowedIps: [] })?.peer ?? 0
  let seconds = 0
  const moment = (): Moment => ({ now: seconds * 1000, wallTime: 1.8e12 + seconds * 1000 })
  b.use(toA, here, { initiate: false, moment: moment() })
  /** Processor time at the asked end. */
  const handshakes = (end: 'initiator' | 'responder'): number => {
    let own = 0
    let other = 0
    for (let count = 0; count < handshakesARun; count++) {
      seconds++
      let datagram: Uint8Array = new Uint8Array(0)
      let established = false
      own += spent(() => {
        datagram = datagramOf(a.use(toB, there, { initiate: true, moment: moment() }))
      })
      other += spent(() => {
        datagram = datagramOf(b.receive(datagram, here, moment()))
      })
      own += spent(() => {
        established = a.receive(datagram, there, moment()).some(({ kind }) => kind === 'established')
      })
      if (!established) throw new Error('A handshake failed')
    }
    return end === 'initiator' ? own : other
  }
  const options = { bar: 2_000, units: handshakesARun }
  return [
    figure('handshake, initiator', { ...options, run: () => handshakes('initiator') }),
    figure('handshake, responder', { ...options, run: () => handshakes('responder') }),
  ]
}

/** Keeps copies of what was sealed while there is a list. */
interface Sink {
  kept: Uint8Array[] | undefined
}

function pathWith(keypair: DataKeypair, allowedIp: string, sink: Sink): PacketPath {
  const prefix = parsePrefix(allowedIp)
  if (prefix === undefined) throw new Error(allowedIp)
  const path = new PacketPath({
    mtu: 1420,
    sink: { datagram: (bytes) => void sink.kept?.push(bytes.slice()), packet: () => {} },
  })
  path.apply({ kind: 'add-peer', peer: 1, allowedIps: [prefix] }, 0)
  path.apply({ kind: 'set-endpoint', peer: 1, endpoint: there, revision: 1 }, 0)
  path.apply({ kind: 'install-keypair', peer: 1, keypair }, 0)
  path.apply({ kind: 'use-keypair', peer: 1, localIndex: keypair.localIndex, confirm: false }, 0)
  return path
}

function packetFigures(): readonly Figure[] {
  const [forth, back] = [systemRandom.bytes(32), systemRandom.bytes(32)]
  const limits = { created: 0, rekeyAfterMessages: 2 ** 51, rejectAfterMessages: 2 ** 52 }
  const keys = (send: Uint8Array, receive: Uint8Array): Pick<DataKeypair, 'sendKey' | 'receiveKey'> => ({
    sendKey: new SecretKey(send),
    receiveKey: new SecretKey(receive),
  })
  const sink: Sink = { kept: undefined }
  const a = pathWith({ localIndex: 1, remoteIndex: 2, ...keys(forth, back), ...limits }, '10.0.0.2/32', sink)
  const b = pathWith({ localIndex: 2, remoteIndex: 1, ...keys(back, forth), ...limits }, '10.0.0.1/32', sink)
  const packet = ipv4Packet({ from: '10.0.0.1', to: '10.0.0.2', payload: 1400 })
  const send = (): void => {
    for (let at = 0; at < packetsARun; at++) a.sendPacket(packet, 1)
  }
  const open = (): number => {
    const datagrams: Uint8Array[] = []
    sink.kept = datagrams
    send()
    sink.kept = undefined
    return spent(() => {
      for (const bytes of datagrams) b.receive(bytes, there, 1)
    })
  }
  const options = { bar: 10, units: packetsARun }
  const figures = [
    figure('packet of 1420 bytes: route and seal', { ...options, run: () => spent(send) }),
    figure('packet of 1420 bytes: open, check and route', { ...options, run: open }),
  ]
  const received = b.takeReports()[0]?.activity.receivedBytes
  if (received !== (runs + 1) * packetsARun * packet.length) throw new Error('Not every packet arrived')
  return figures
}

const figures = [...handshakeFigures(), ...packetFigures()]
const ok = printFigures(figures, { json: process.argv.includes('--json'), failures: [] })
process.exitCode = ok ? 0 : 1
