/**
 * Word from the kernel that a link, an IPv4 address or an IPv4 route changed (rtnetlink(7)). Only that something
 * changed: the messages are read and thrown away, and a lost one (ENOBUFS) is as good as one that came.
 */

import { c, describeErrno, errno, type SystemCalls } from './ffi.ts'
import type { PollLoop } from './poll-loop.ts'

// linux/rtnetlink.h
const netlinkRoute = 0
const groups = { link: 0x1, ipv4Address: 0x10, ipv4Route: 0x40 } as const
const addressSize = 12
const receiveSize = 32 * 1024
/** Messages read a turn; the poll loop calls again for more. */
const batch = 64

/** Calls `onChange` after every group of changes until disposed. Throws when the kernel has no rtnetlink for us. */
export function watchNetlink(
  parts: { readonly system: SystemCalls; readonly poll: PollLoop },
  onChange: () => void,
): Disposable {
  const { system, poll } = parts
  const fd = system.socket(c.AF_NETLINK, c.SOCK_RAW | c.O_NONBLOCK | c.O_CLOEXEC, netlinkRoute)
  if (fd === -1) throw new Error(`there is no rtnetlink: ${describeErrno(system.errno())}`)
  // struct sockaddr_nl: family, padding, port (0: the kernel chooses), groups.
  const address = system.allocate(addressSize)
  address.view.setUint16(0, c.AF_NETLINK, true)
  address.view.setUint32(8, groups.link | groups.ipv4Address | groups.ipv4Route, true)
  if (system.bind(fd, address.address, addressSize) === -1) {
    const reason = describeErrno(system.errno())
    system.close(fd)
    throw new Error(`rtnetlink refused: ${reason}`)
  }
  const incoming = system.allocate(receiveSize)
  const registration = poll.add(fd, () => {
    for (let count = 0; count < batch; count++) {
      const length = system.recv(fd, incoming.address, receiveSize, 0)
      if (length === -1 && system.errno() !== errno.ENOBUFS) break
    }
    onChange()
  })
  return {
    [Symbol.dispose]: () => {
      registration[Symbol.dispose]()
      system.close(fd)
    },
  }
}
