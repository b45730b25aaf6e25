/** wireguard-go in a namespace, set up through its UAPI socket (wireguard.com/xplatform). */

import { existsSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import type { Endpoint } from '../src/api/endpoint.ts'
import type { Side, TwoNamespaces } from './two-namespaces.ts'

export interface WireguardGoOptions {
  readonly program: string
  /** Of the interface, and so of the UAPI socket: one on the machine. */
  readonly name: string
  readonly port: number
  /** 64 hex digits, as the public key. */
  readonly privateKey: string
  readonly addresses: readonly string[]
  readonly mtu: number
  readonly peers: readonly {
    readonly publicKey: string
    readonly endpoint?: Endpoint
    readonly allowedIps: readonly string[]
  }[]
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Running, up and configured; it ends with the namespaces. */
export async function startWireguardGo(
  spaces: TwoNamespaces,
  side: Side,
  options: WireguardGoOptions,
): Promise<number> {
  const child = spaces.start(side, options.program, ['-f', options.name])
  const path = `/var/run/wireguard/${options.name}.sock`
  // It does so itself only when it is asked to end.
  child.on('exit', () => rmSync(path, { force: true }))
  for (let tries = 0; !existsSync(path) && tries < 100; tries++) await pause(20)
  const lines = ['set=1', `private_key=${options.privateKey}`, `listen_port=${options.port}`]
  for (const { publicKey, endpoint, allowedIps } of options.peers) {
    lines.push(`public_key=${publicKey}`)
    if (endpoint !== undefined) lines.push(`endpoint=${endpoint.address}:${endpoint.port}`)
    for (const prefix of allowedIps) lines.push(`allowed_ip=${prefix}`)
  }
  const answer = await ask(path, `${lines.join('\n')}\n\n`)
  if (!answer.includes('errno=0')) throw new Error(`wireguard-go refused its configuration: ${answer}`)
  spaces.ip(side, ['link', 'set', 'dev', options.name, 'mtu', String(options.mtu)])
  for (const address of options.addresses) spaces.ip(side, ['address', 'add', address, 'dev', options.name])
  spaces.ip(side, ['link', 'set', 'dev', options.name, 'up'])
  return child.pid ?? 0
}

function ask(path: string, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(path, () => socket.write(request))
    socket.setTimeout(2000, () => socket.destroy(new Error('no answer')))
    socket.on('data', (bytes) => {
      answer += bytes
      if (answer.endsWith('\n\n')) {
        socket.end()
        resolve(answer)
      }
    })
    socket.on('error', reject)
  })
}
