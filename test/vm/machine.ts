/**
 * A virtual machine that runs one program and is gone: QEMU without a disk or a network, everything emulated (no /dev/kvm
 * is needed), its serial line our only view of it. Lines of the program that begin with `> ` are its results.
 */

import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export interface MachineOptions {
  readonly kernel: string
  readonly image: Uint8Array
  readonly signal: AbortSignal
  readonly onLine: (line: string) => void
}

/** Resolves with the lines of results when the machine has switched itself off, or was made to by the signal. */
export async function runMachine({ kernel, image, signal, onLine }: MachineOptions): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'punchguard-vm-'))
  try {
    const initrd = join(folder, 'image')
    await writeFile(initrd, image)
    const child = spawn('qemu-system-x86_64', qemuArguments(kernel, initrd), { stdio: ['ignore', 'pipe', 'inherit'] })
    const end = (): void => void child.kill('SIGKILL')
    signal.addEventListener('abort', end)
    process.on('exit', end)
    const results: string[] = []
    createInterface({ input: child.stdout }).on('line', (line) => {
      const text = line.trimEnd()
      onLine(text)
      if (text.startsWith('> ')) results.push(text.slice(2))
    })
    await new Promise<void>((resolve, reject) => {
      child.on('error', reject)
      child.on('close', () => resolve())
    })
    signal.removeEventListener('abort', end)
    process.off('exit', end)
    return results
  } finally {
    await rm(folder, { recursive: true })
  }
}

function qemuArguments(kernel: string, initrd: string): readonly string[] {
  const commandLine = 'console=ttyS0 quiet panic=-1 mitigations=off'
  return [
    ...['-accel', 'tcg,thread=multi', '-M', 'q35', '-cpu', 'max', '-smp', '2', '-m', '1536'],
    ...['-kernel', kernel, '-initrd', initrd, '-append', commandLine],
    ...['-nographic', '-no-reboot', '-nic', 'none'],
  ]
}
