/** Runs a program of this project on Debian's kernel, which has WireGuard, in a virtual machine made for it. */

import { makeImage } from './image.ts'
import { type KernelPackage, kernelPackage } from './kernel-package.ts'
import { runMachine } from './machine.ts'

const modules = ['wireguard', 'veth', 'tun']
const programs = ['ip', 'ping', 'wg', 'unshare', 'nsenter', 'mount']

export const neededPackages = 'qemu-system-x86 busybox iproute2 wireguard-tools iputils-ping'

export interface InsideOptions {
  /** A module of dist/, and its arguments, words without blanks. */
  readonly command: readonly string[]
  readonly signal: AbortSignal
  readonly onLine?: (line: string) => void
}

export interface InsideResult {
  readonly kernel: KernelPackage
  /** Lines that the program began with `> `. */
  readonly results: readonly string[]
}

export async function runInside({ command, signal, onLine = () => {} }: InsideOptions): Promise<InsideResult> {
  const kernel = await kernelPackage()
  const image = await makeImage({ kernel, modules, programs, command })
  const results = await runMachine({ kernel: kernel.image, image, signal, onLine })
  return { kernel, results }
}
