/**
 * The worker data plane, with every offload, against wireguard-go in another network namespace: streams both ways at once
 * with equal hashes, the handshake begun by either side, and packets of every length. Needs root.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type GuardEnd, outside, type Side, sides, TwoNamespaces, untilWorkers } from '../../bench/two-namespaces.ts'
import { startWireguardGo } from '../../bench/wireguard-go.ts'
import { importKeyPair } from '../../src/guard/wireguard/crypto.ts'
import { toHex } from '../../src/util/bytes.ts'
import { systemClock } from '../../src/util/clock.ts'
import type { InteropScenario } from './scenario.ts'
import { missing, version } from './wireguard.ts'

const wireguardGo = 'wireguard-go'
const port = 51_820
const privateKeys: Readonly<Record<Side, string>> = { a: '33'.repeat(32), b: '44'.repeat(32) }
/** Inside the tunnel, by family. */
const inside = { 4: { a: '10.78.0.1', b: '10.78.0.2' }, 6: { a: 'fd78::1', b: 'fd78::2' } } as const
const transferBytes = 200_000_000
const ipv6Bytes = 20_000_000
const largestPing = 3000
/** What may be lost when both ends are overrun, and what the system says to its neighbours when an interface comes up. */
const harmless = /^(?:interface-full|send-failed|queue-full|no-peer)$/

let worlds = 0

interface World {
  readonly spaces: TwoNamespaces
  /** Ours. */
  readonly a: GuardEnd
}

type Beginner = 'we' | 'wireguard-go'

function endOf(
  side: Side,
  knowsPeer: boolean,
): {
  readonly port: number
  readonly privateKey: string
  readonly addresses: readonly string[]
  readonly peers: readonly {
    readonly publicKey: string
    readonly endpoint?: { readonly address: string; readonly port: number }
    readonly allowedIps: readonly string[]
  }[]
} {
  const other = side === 'a' ? 'b' : 'a'
  const publicKey = toHex(importKeyPair(Uint8Array.from(Buffer.from(privateKeys[other], 'hex'))).publicKey)
  const allowedIps = [`${inside[4][other]}/32`, `${inside[6][other]}/128`]
  const endpoint = knowsPeer ? { endpoint: { address: outside[other], port } } : {}
  return {
    port,
    privateKey: privateKeys[side],
    addresses: [`${inside[4][side]}/24`, `${inside[6][side]}/64`],
    peers: [{ publicKey, allowedIps, ...endpoint }],
  }
}

/** Only the one that begins knows where the other is. */
async function open(spaces: TwoNamespaces, beginner: Beginner, mtu: number): Promise<World> {
  worlds++
  const name = `pgi${process.pid % 100_000}w${worlds}`
  const a = await spaces.startEnd('a', { name, mtu, plane: 'workers', ...endOf('a', beginner === 'we') })
  const program = { program: wireguardGo, name, mtu }
  await startWireguardGo(spaces, 'b', { ...program, ...endOf('b', beginner === 'wireguard-go') })
  const first: Side = beginner === 'we' ? 'a' : 'b'
  spaces.run(first, 'ping', ['-c', '1', '-w', '8', '-i', '0.2', inside[4][first === 'a' ? 'b' : 'a']])
  await untilWorkers(a)
  return { spaces, a }
}

function scenario(
  name: string,
  options: { readonly mtu: number; readonly beginner: Beginner },
  story: (world: World) => Promise<string>,
): InteropScenario {
  return {
    peer: 'wireguard-go',
    name: `workers: ${name}`,
    missing,
    version,
    run: async ({ signal }) => {
      const spaces = new TwoNamespaces(`pg-w${process.pid}`)
      // What waits for a program of ours then fails.
      const stop = (): void => void spaces.endPrograms()
      signal.addEventListener('abort', stop)
      try {
        const told = await story(await open(spaces, options.beginner, options.mtu))
        signal.throwIfAborted()
        return told
      } finally {
        signal.removeEventListener('abort', stop)
        await spaces.endPrograms()
        spaces.close()
      }
    },
  }
}

/** Both ways at once; Mbit/s of both together. */
async function transfer({ spaces }: World, family: 4 | 6, bytes: number): Promise<number> {
  const program = fileURLToPath(new URL('../../bench/transfer.js', import.meta.url))
  const args = (mode: string): readonly string[] => [program, mode, inside[family].b, '7000', String(bytes)]
  const server = spaces.start('b', process.execPath, args('serve'))
  const heard: string[] = []
  server.stdout?.on('data', (part) => heard.push(String(part)))
  while (heard.length === 0) await once(server.stdout ?? server, 'data')
  const ended = once(server, 'exit')
  const begin = systemClock.now()
  const output = await spaces.output('a', process.execPath, { args: args('connect'), within: 50_000 })
  await ended
  const seconds = (systemClock.now() - begin) / 1000
  const answers = [output, heard.join('').split('\n')[1] ?? '']
  for (const answer of answers) assert.deepEqual(JSON.parse(answer), { ok: true, received: bytes })
  return (2 * bytes * 8) / seconds / 1e6
}

/** Nothing but the harmless. */
async function checkDrops({ a }: World): Promise<string> {
  const { guard, peers } = await a.ask('stats')
  const all = [guard, ...(peers as readonly unknown[])] as readonly {
    readonly dropped: Readonly<Record<string, number>>
  }[]
  const reasons = all.flatMap(({ dropped }) => Object.keys(dropped))
  assert.deepEqual(
    reasons.filter((reason) => !harmless.test(reason)),
    [],
  )
  return JSON.stringify(Object.assign({}, ...all.map(({ dropped }) => dropped)))
}

async function transferBothFamilies(world: World): Promise<string> {
  const ipv4 = await transfer(world, 4, transferBytes)
  const ipv6 = await transfer(world, 6, ipv6Bytes)
  const dropped = await checkDrops(world)
  return `2 x 200 MB, and 2 x 20 MB over IPv6, at once; SHA-256 equal; ${ipv4.toFixed(0)} and ${ipv6.toFixed(0)} Mbit/s; dropped ${dropped}`
}

/** Every length, one direction and family after the other. */
async function pingEveryLength(world: World): Promise<string> {
  const ways = sides.flatMap((side) => ([4, 6] as const).map((family) => ({ side, family })))
  const missed = await Promise.all(
    ways.map(async ({ side, family }, at) => {
      const to = inside[family][side === 'a' ? 'b' : 'a']
      const loop = `for size in $(seq ${at + 1} ${ways.length} ${largestPing}); do ping -n -q -c 1 -W 2 -s $size ${to} > /dev/null || echo $size; done`
      return await world.spaces.output(side, 'sh', { args: ['-c', loop], within: 50_000 })
    }),
  )
  assert.deepEqual(missed.join(''), '', 'lengths that got no answer')
  return `${largestPing} of ${largestPing} lengths answered; dropped ${await checkDrops(world)}`
}

export const scenarios: readonly InteropScenario[] = [
  ...[1420, 1383, 1281].flatMap((mtu) =>
    (['we', 'wireguard-go'] as const).map((beginner) =>
      scenario(
        `200 MB of TCP both ways at once at MTU ${mtu}, ${beginner === 'we' ? 'we begin' : 'wireguard-go begins'}`,
        { mtu, beginner },
        transferBothFamilies,
      ),
    ),
  ),
  scenario('packets of 1 to 3000 bytes, IPv4 and IPv6, both ways', { mtu: 1420, beginner: 'we' }, pingEveryLength),
]
