/**
 * The kernel guard, which is the Linux kernel's WireGuard led by us, against the embedded guard: in a virtual machine with
 * Debian's kernel, as the one we run on may have none (test/vm/inside.ts has the story).
 */

import { runCommand } from '../../src/net/run-command.ts'
import { kernelPackage } from '../vm/kernel-package.ts'
import { neededPackages, runInside } from '../vm/run-inside.ts'
import type { InteropScenario } from './scenario.ts'

const programs = ['qemu-system-x86_64', 'busybox', 'ip', 'wg', 'ping', 'ldd', 'apt-get', 'dpkg-deb']

async function missing(): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'Linux on x86-64'
  for (const program of programs) {
    const isThere = await runCommand('which', [program]).then(
      () => true,
      () => false,
    )
    if (!isThere) return `apt-get update && apt-get install -y ${neededPackages}`
  }
  return kernelPackage().then(
    () => undefined,
    () => "Debian's package linux-image-cloud-amd64, to be unpacked: apt-get update",
  )
}

export const scenarios: readonly InteropScenario[] = [
  {
    peer: 'Linux kernel WireGuard',
    name: 'the kernel guard at one end, the embedded one at the other, in a virtual machine',
    missing,
    // Every processor instruction is emulated there.
    timeLimit: 240_000,
    version: async () => (await kernelPackage()).version,
    run: async ({ signal }) => {
      const said: string[] = []
      const onLine = (line: string): void => {
        said.push(line)
        if (line.startsWith('> ')) console.error(`  ${line.slice(2)}`)
      }
      const { results } = await runInside({ command: ['test/vm/inside.js'], signal, onLine })
      signal.throwIfAborted()
      const last = results.at(-1)
      if (last !== 'passed') throw new Error(last ?? `the machine said: ${said.slice(-5).join(' | ')}`)
      return `${results.length - 1} steps, told above`
    },
  },
]
