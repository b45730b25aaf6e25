/** Everything a run of the lab stands on: the world, its servers, two devices and an agent beside each. */

import type { DeviceEvent } from '../src/api/device.ts'
import type { GuardKind } from '../src/api/roles.ts'
import { Agent } from './agent.ts'
import { LabDevice } from './device.ts'
import { configFor, Servers } from './servers.ts'
import { limited } from './waiting.ts'
import { type Place, World, type WorldOptions } from './world.ts'

export interface SceneOptions extends WorldOptions {
  /** An empty folder of our own; the devices' state folders are made in it. */
  readonly folder: string
  /** The embedded ones unless told. */
  readonly guards?: readonly [GuardKind, GuardKind]
  readonly signal: AbortSignal
  readonly onEvent: (who: string, event: DeviceEvent) => void
  readonly log: (line: string) => void
  /** The daemons log more. */
  readonly verbose: boolean
}

/** A device with its place and its agent. */
export interface Actor {
  readonly device: LabDevice
  readonly place: Place
  readonly agent: Agent
}

export class Scene implements AsyncDisposable {
  readonly world: World
  readonly a: Actor
  readonly b: Actor
  readonly #stack: AsyncDisposable[]

  private constructor(parts: { world: World; a: Actor; b: Actor; stack: AsyncDisposable[] }) {
    this.world = parts.world
    this.a = parts.a
    this.b = parts.b
    this.#stack = parts.stack
  }

  /** Builds it all; the daemons are not started yet. */
  static async build(options: SceneOptions): Promise<Scene> {
    const { signal, log, verbose, guards = ['embedded', 'embedded'] } = options
    const stack: AsyncDisposable[] = []
    try {
      const world = await World.build(options)
      stack.push(world)
      const servers = new Servers(world.servers, { log })
      stack.push(servers)
      const ready = await limited(servers.ready, { within: 20_000, what: 'the start of the servers', signal })
      const actor = (place: Place, guard: GuardKind): Actor => {
        const { name } = place.plan
        const agent = new Agent(place.namespace, { log })
        const onEvent = (event: DeviceEvent): void => options.onEvent(name, event)
        const folder = `${options.folder}/${name}`
        const { namespace } = place
        const config = configFor(ready, { name, guard })
        const device = new LabDevice({ name, namespace, folder, config, onEvent, log, verbose })
        stack.push(agent, device)
        return { device, place, agent }
      }
      return new Scene({ world, a: actor(world.a, guards[0]), b: actor(world.b, guards[1]), stack })
    } catch (error) {
      await disposeAll(stack)
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await disposeAll(this.#stack)
  }
}

/** In reverse order; one that fails does not keep the others. */
async function disposeAll(stack: AsyncDisposable[]): Promise<void> {
  for (const one of stack.splice(0).reverse()) {
    try {
      await one[Symbol.asyncDispose]()
    } catch {
      // Whatever is left goes with the namespaces.
    }
  }
}
