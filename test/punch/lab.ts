/** Two devices with punchers in the virtual network, and the story of one punch between them. */

import type { IcePath } from '../../src/punch/path.ts'
import { IcePuncher } from '../../src/punch/puncher.ts'
import { HandClock, seededRandom } from './hand-clock.ts'
import {
  exchangePair,
  type NatBehaviour,
  secondStunServer,
  stunServer,
  type VirtualExchange,
  type VirtualHost,
  VirtualNetwork,
  type Weather,
} from './virtual-network.ts'

export interface Device {
  readonly socket: VirtualHost
  readonly puncher: IcePuncher
  readonly exchange: VirtualExchange
}

export interface Lab {
  readonly clock: HandClock
  readonly network: VirtualNetwork
  readonly a: Device
  readonly b: Device
}

export const eim = (filtering: NatBehaviour['filtering']): NatBehaviour => ({
  mapping: 'endpoint-independent',
  filtering,
})

export const restrictive: NatBehaviour = eim('address-and-port-dependent')

export const servers: readonly { readonly host: string; readonly port: number }[] = [stunServer, secondStunServer].map(
  ({ address, port }) => ({ host: address, port }),
)

export function createPuncher(clock: HandClock, socket: VirtualHost, seed: number): IcePuncher {
  return new IcePuncher({
    underlay: socket,
    host: socket.host,
    stunServers: servers,
    clock,
    random: seededRandom(seed),
  })
}

export function createLab(
  options: {
    readonly a?: NatBehaviour | undefined
    readonly b?: NatBehaviour | undefined
    readonly seed?: number
    readonly weather?: Weather
    /** One way through the signal network, ms. */
    readonly signalDelay?: number
  } = {},
): Lab {
  const { seed = 1 } = options
  const clock = new HandClock()
  const network = new VirtualNetwork(clock, { seed, ...(options.weather ? { weather: options.weather } : {}) })
  const [exchangeA, exchangeB] = exchangePair(clock, options.signalDelay ?? 50)
  const device = (behaviour: NatBehaviour | undefined, exchange: VirtualExchange, at: number): Device => {
    const socket = network.addHost(behaviour)
    return { socket, exchange, puncher: createPuncher(clock, socket, seed * 2 + at) }
  }
  return { clock, network, a: device(options.a, exchangeA, 0), b: device(options.b, exchangeB, 1) }
}

/** A promise a test can look at. */
export class Watched<Value> {
  value: Value | undefined
  error: unknown
  at: number | undefined

  constructor(promise: Promise<Value>, clock: HandClock) {
    promise.then(
      (value) => {
        this.value = value
        this.at = clock.now()
      },
      (error: unknown) => {
        this.error = error
        this.at = clock.now()
      },
    )
  }

  get settled(): boolean {
    return this.at !== undefined
  }
}

export interface Punch {
  readonly a: Watched<IcePath>
  readonly b: Watched<IcePath>
}

/** Opens on both sides, the second `skew` ms after the first. Runs until both have a path or `limit` ms passed. */
export async function punch(
  lab: Lab,
  options: {
    readonly skew?: number
    readonly limit?: number
    readonly controlling?: readonly [boolean, boolean]
  } = {},
): Promise<Punch> {
  const [aControls, bControls] = options.controlling ?? [true, false]
  const signal = new AbortController().signal
  const a = new Watched(lab.a.puncher.open({ exchange: lab.a.exchange, controlling: aControls, signal }), lab.clock)
  if (options.skew !== undefined && options.skew > 0) await lab.clock.advance(options.skew)
  const b = new Watched(lab.b.puncher.open({ exchange: lab.b.exchange, controlling: bControls, signal }), lab.clock)
  await lab.clock.until(() => a.settled && b.settled, options.limit ?? 10_000)
  return { a, b }
}

/** Both paths of a punch that has to succeed. */
export async function connect(
  lab: Lab,
  options: Parameters<typeof punch>[1] = {},
): Promise<{ readonly a: IcePath; readonly b: IcePath }> {
  const { a, b } = await punch(lab, options)
  if (a.value === undefined || b.value === undefined) throw new Error('the punch did not succeed')
  return { a: a.value, b: b.value }
}
