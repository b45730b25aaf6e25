/** A wireguard-go of a few lines for tests: it reads requests as the real one does and counts what it is told to. */

import type { UapiProgram } from '../wireguard-go/guard.ts'

export interface FakePeer {
  readonly settings: Map<string, string>
  readonly allowedIps: string[]
  lastHandshake: number
  receivedBytes: number
  sentBytes: number
  /** Handshakes it began because a keepalive was turned on. */
  initiations: number
}

export class FakeWireguardGo implements UapiProgram {
  readonly interfaceName = 'pg0'
  readonly implementation = 'wireguard-go 0.0.20220316'
  readonly device: Map<string, string> = new Map()
  readonly peers: Map<string, FakePeer> = new Map()
  gets = 0
  sets = 0
  /** What it answers to `set`. */
  errno = 0
  isGone = false

  async ask(request: string): Promise<string> {
    if (this.isGone) throw new Error('it is gone')
    const [operation, ...lines] = request.trimEnd().split('\n')
    if (operation === 'get=1') return this.#get()
    this.sets++
    if (this.errno === 0) this.#set(lines)
    return `errno=${this.errno}\n\n`
  }

  #get(): string {
    this.gets++
    const lines: string[] = []
    for (const [key, peer] of this.peers) {
      lines.push(`public_key=${key}`)
      for (const name of ['preshared_key', 'endpoint']) {
        const value = peer.settings.get(name)
        if (value !== undefined) lines.push(`${name}=${value}`)
      }
      lines.push(`last_handshake_time_sec=${Math.floor(peer.lastHandshake / 1000)}`)
      lines.push(`last_handshake_time_nsec=${(peer.lastHandshake % 1000) * 1e6}`)
      lines.push(`tx_bytes=${peer.sentBytes}`, `rx_bytes=${peer.receivedBytes}`)
    }
    return `${[...lines, 'errno=0'].join('\n')}\n\n`
  }

  #set(lines: readonly string[]): void {
    let key: string | undefined
    for (const line of lines) {
      const [name = '', value = ''] = line.split('=')
      if (name === 'public_key') key = value
      const peer = key === undefined ? undefined : this.peers.get(key)
      if (key === undefined) this.device.set(name, value)
      else if (name === 'update_only') key = peer === undefined ? 'nobody' : key
      else if (name === 'remove') this.peers.delete(key)
      else if (key !== 'nobody' && name !== 'public_key') setPeer(peer ?? this.#add(key), name, value)
    }
  }

  #add(key: string): FakePeer {
    const peer: FakePeer = {
      settings: new Map(),
      allowedIps: [],
      lastHandshake: 0,
      receivedBytes: 0,
      sentBytes: 0,
      initiations: 0,
    }
    this.peers.set(key, peer)
    return peer
  }
}

function setPeer(peer: FakePeer, name: string, value: string): void {
  if (name === 'replace_allowed_ips') peer.allowedIps.length = 0
  else if (name === 'allowed_ip') peer.allowedIps.push(value)
  else {
    const isFirst = (peer.settings.get(name) ?? '0') === '0' && value !== '0'
    if (name === 'persistent_keepalive_interval' && isFirst) peer.initiations++
    peer.settings.set(name, value)
  }
}
