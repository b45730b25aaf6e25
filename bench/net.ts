/**
 * What one packet costs between this process and the kernel: TUN read and write, UDP send and receive, wall time on
 * one thread. Run as root for the TUN half (a network namespace of its own, gone with the process):
 *
 *   node scripts/run.mjs bench/net.js [--json]
 */

import { execFileSync } from 'node:child_process'
import { c, type SystemCalls, systemCalls } from '../src/net/ffi.ts'
import { sharedPollLoop } from '../src/net/poll-loop.ts'
import { openTunNow } from '../src/net/tun/linux.ts'
import type { Tun } from '../src/net/tun/tun.ts'
import { bindUdpSocket, type UdpSocket } from '../src/net/udp-socket.ts'

interface Figure {
  readonly name: string
  /** The median of the runs. */
  readonly value: number
  readonly unit: 'ns/packet' | 'us'
  readonly runs: number
}

const runs = 15
const packetSize = 1420
/** What a queue of the kernel holds for certain. */
const burst = 500
const tunnelSubnet = '10.99.0'
const port = 7000

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** The median over some runs of what one run returns; one more goes before, unmeasured, to warm up. */
async function measure(name: string, unit: Figure['unit'], run: () => Promise<number>): Promise<Figure> {
  await run()
  const values: number[] = []
  for (let count = 0; count < runs; count++) values.push(await run())
  values.sort((a, b) => a - b)
  return { name, value: Math.round((values[runs >> 1] ?? 0) * 10) / 10, unit, runs }
}

/** Nanoseconds for each of `count` packets. */
async function timed(count: number, action: () => void | Promise<void>): Promise<number> {
  const begin = performance.now()
  await action()
  return ((performance.now() - begin) * 1e6) / count
}

/** Resolves when `done` says so, which is asked after every turn of the event loop. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) await turn()
}

async function udpFigures(): Promise<readonly Figure[]> {
  await using from = await bindUdpSocket(0)
  await using to = await bindUdpSocket(0)
  const payload = new Uint8Array(packetSize)
  const target = { address: '127.0.0.1', port: to.port }
  let received = 0
  to.receive(() => received++)
  const sendBurst = (): void => {
    for (let count = 0; count < burst; count++) from.send(payload, target)
  }
  const send = await measure('UDP send over loopback, with its delivery', 'ns/packet', async () => {
    const goal = received + burst
    const cost = await timed(burst, sendBurst)
    await until(() => received === goal)
    return cost
  })
  const receive = await measure('UDP receive', 'ns/packet', async () => {
    const goal = received + burst
    sendBurst()
    return timed(burst, () => until(() => received === goal))
  })
  return [send, receive]
}

/** A UDP packet to our own end of the tunnel; its checksum 0 means none (RFC 768). */
function incomingPacket(): Uint8Array {
  const packet = new Uint8Array(packetSize)
  const view = new DataView(packet.buffer)
  packet.set([0x45, 0, packetSize >> 8, packetSize & 255, 0, 0, 0, 0, 64, 17, 0, 0, 10, 99, 0, 2, 10, 99, 0, 1])
  let sum = 0
  for (let at = 0; at < 20; at += 2) sum += view.getUint16(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  view.setUint16(10, ~sum & 0xffff)
  view.setUint16(20, port)
  view.setUint16(22, port)
  view.setUint16(24, packetSize - 20)
  return packet
}

async function tunFigures(system: SystemCalls): Promise<readonly Figure[]> {
  await using tun = openTunNow({ name: 'pgb0', queueLength: 2 * burst }, { system, poll: await sharedPollLoop() })
  execFileSync('ip', ['address', 'add', `${tunnelSubnet}.1/24`, 'dev', tun.name])
  execFileSync('ip', ['link', 'set', 'dev', tun.name, 'up'])
  await using socket = await bindUdpSocket(port)
  return [
    await writeFigure(tun, socket),
    await readFigure(tun, socket),
    await wakeFigure(tun, socket),
    await echoFigure(tun, socket, { name: 'UDP send, TUN read, TUN write, UDP receive', underWay: 100 }),
    await echoFigure(tun, socket, { name: 'the same with one packet at a time', underWay: 1 }),
  ]
}

function writeFigure(tun: Tun, socket: UdpSocket): Promise<Figure> {
  const packet = incomingPacket()
  let received = 0
  socket.receive(() => received++)
  return measure('TUN write, delivered to a socket', 'ns/packet', async () => {
    const goal = received + burst
    const cost = await timed(burst, () => {
      for (let count = 0; count < burst; count++) tun.write(packet)
    })
    await until(() => received === goal)
    return cost
  })
}

async function readFigure(tun: Tun, socket: UdpSocket): Promise<Figure> {
  const payload = new Uint8Array(packetSize - 28)
  let read = 0
  tun.receive((packet) => packet[9] === 17 && read++)
  return measure('TUN read, through the poll loop', 'ns/packet', async () => {
    const goal = read + burst
    for (let count = 0; count < burst; count++) socket.send(payload, { address: `${tunnelSubnet}.2`, port })
    return timed(burst, () => until(() => read === goal))
  })
}

/** After a pause the poll loop waits on the thread pool: how long a first packet takes to us. */
async function wakeFigure(tun: Tun, socket: UdpSocket): Promise<Figure> {
  let arrived: () => void = () => {}
  tun.receive((packet) => packet[9] === 17 && arrived())
  return measure('TUN read from idle, until the receiver is called', 'us', async () => {
    let total = 0
    const samples = 20
    for (let count = 0; count < samples; count++) {
      await new Promise((resolve) => setTimeout(resolve, 2))
      const arrival = new Promise<void>((resolve) => {
        arrived = resolve
      })
      const begin = performance.now()
      socket.send(new Uint8Array(64), { address: `${tunnelSubnet}.2`, port })
      await arrival
      total += performance.now() - begin
    }
    return (total * 1000) / samples
  })
}

function echoFigure(
  tun: Tun,
  socket: UdpSocket,
  { name, underWay }: { readonly name: string; readonly underWay: number },
): Promise<Figure> {
  const payload = new Uint8Array(packetSize - 28)
  const count = underWay === 1 ? 500 : 5000
  let received = 0
  tun.receive((packet) => {
    if (packet[9] !== 17) return
    const answer = packet.slice()
    answer.copyWithin(12, 16, 20)
    answer.set(packet.subarray(12, 16), 16)
    tun.write(answer)
  })
  return measure(name, underWay === 1 ? 'us' : 'ns/packet', async () => {
    received = 0
    const cost = await timed(count, async () => {
      let sent = 0
      const finished = new Promise<void>((resolve) =>
        socket.receive(() => {
          received++
          if (sent < count) sendOne()
          else if (received === count) resolve()
        }),
      )
      const sendOne = (): void => {
        sent++
        socket.send(payload, { address: `${tunnelSubnet}.2`, port })
      }
      for (let first = 0; first < underWay; first++) sendOne()
      await finished
    })
    return underWay === 1 ? cost / 1000 : cost
  })
}

async function main(): Promise<void> {
  const system = await systemCalls()
  const figures: Figure[] = []
  if (process.getuid?.() === 0) {
    if (system.unshare(c.CLONE_NEWNET) !== 0) throw new Error('no network namespace could be made')
    execFileSync('ip', ['link', 'set', 'lo', 'up'])
    figures.push(...(await tunFigures(system)))
  } else {
    console.error('Skipped: the TUN figures need root')
  }
  figures.push(...(await udpFigures()))
  for (const { name, value, unit } of figures) console.log(`${name.padEnd(50)} ${String(value).padStart(9)} ${unit}`)
  if (process.argv.includes('--json')) console.log(JSON.stringify({ figures, ok: true }))
}

await main()
