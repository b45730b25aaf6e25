/**
 * Forged handshake initiations at a steady rate, as a process of its own: everything random but the type and mac1, for
 * which the public key suffices, so that each costs its receiver a curve operation before it can be dropped. The
 * datagrams are made beforehand and sent by sendmmsg. Told by one JSON argument; says `ready` when it begins, and after
 * a line of input what it sent.
 */

import { once } from 'node:events'
import { ipv4 } from '../../lab/model/ipv4.ts'
import { messageHeader, setPointer, socketAddressSize } from '../../src/guard/dataplane/worker-context.ts'
import { CookieJar } from '../../src/guard/wireguard/cookie.ts'
import { c, describeErrno, systemCalls } from '../../src/net/ffi.ts'
import { systemRandom } from '../../src/util/random.ts'

export interface FloodOptions {
  readonly address: string
  readonly port: number
  /** Of the responder, 64 hex digits. */
  readonly publicKey: string
  /** Datagrams a second. */
  readonly rate: number
}

const { address, port, publicKey, rate }: FloodOptions = JSON.parse(process.argv[2] ?? '')
const variety = 2048
const size = 148
const interval = 1
/** After a pause not everything is made up for at once: a burst would only fill the receiver's buffer. */
const largestBurst = 500

const system = await systemCalls()
const datagrams = system.allocate(variety * size)
const vectors = system.allocate(variety * 16)
const headers = system.allocate(variety * messageHeader.size)
const target = system.allocate(socketAddressSize)

target.view.setUint16(0, c.AF_INET, true)
target.view.setUint16(2, port)
target.view.setUint32(4, ipv4(address))
const jar = new CookieJar(Uint8Array.from(Buffer.from(publicKey, 'hex')))
for (let index = 0; index < variety; index++) {
  const message = systemRandom.bytes(size)
  message.set([1, 0, 0, 0])
  message.fill(0, size - 16)
  jar.setMacs(message, 0)
  datagrams.bytes.set(message, index * size)
  setPointer(vectors.view, index * 16, datagrams.address + index * size)
  vectors.view.setUint32(index * 16 + 8, size, true)
  const header = index * messageHeader.size
  setPointer(headers.view, header + messageHeader.name, target.address)
  headers.view.setUint32(header + messageHeader.nameLength, socketAddressSize, true)
  setPointer(headers.view, header + messageHeader.vectors, vectors.address + index * 16)
  headers.view.setUint32(header + messageHeader.vectorCount, 1, true)
}

const socket = system.socket(c.AF_INET, c.SOCK_DGRAM | c.O_CLOEXEC | c.O_NONBLOCK, 0)
if (socket === -1) throw new Error(describeErrno(system.errno()))
let next = 0
let sent = 0
let missed = 0
const start = performance.now()

const timer = setInterval(() => {
  const due = Math.floor(((performance.now() - start) * rate) / 1000) - sent - missed
  missed += Math.max(0, due - largestBurst)
  for (let left = Math.min(due, largestBurst); left > 0; ) {
    const count = Math.min(left, variety - next)
    const done = system.sendmmsg(socket, headers.address + next * messageHeader.size, count, c.MSG_DONTWAIT)
    if (done <= 0) {
      missed += left
      return
    }
    next = (next + done) % variety
    sent += done
    left -= done
  }
}, interval)
console.log(JSON.stringify({ ready: true }))
await once(process.stdin, 'readable')
clearInterval(timer)
const seconds = (performance.now() - start) / 1000
const { user, system: kernel } = process.cpuUsage()
console.log(JSON.stringify({ sent, missed, seconds, cpu: (user + kernel) / 1e6 }))
process.stdin.destroy()
