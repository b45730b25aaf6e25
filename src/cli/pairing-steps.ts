/** Telling how a pairing goes, to a person or to a program. A person never waits long without a line. */

import type { DeviceEvent } from '../api/device.ts'
import type { SignalNetworkStatus } from '../api/roles.ts'
import type { ControlClient } from '../daemon/control-client.ts'
import { systemClock } from '../util/clock.ts'
import { runInBackground } from '../util/run-in-background.ts'
import { printJson, step } from './terminal.ts'

/** How long a person waits before being told that nothing is wrong, ms. */
const silence = 15_000

export class PairingSteps implements Disposable {
  readonly #json: boolean
  readonly #client: ControlClient
  #timer: Disposable | undefined
  #met = false

  constructor(options: { readonly json: boolean; readonly client: ControlClient }) {
    this.#json = options.json
    this.#client = options.client
    this.#watchSilence()
  }

  /** Whether the other device was reached. */
  get met(): boolean {
    return this.#met
  }

  show(event: DeviceEvent): void {
    switch (event.kind) {
      case 'network': {
        const { at, network, status } = event
        if (this.#json) printJson({ event: 'network', network, status })
        else step(at, describeNetwork(network, status))
        break
      }
      case 'pairing': {
        const { at, step: name, peer, text } = event
        this.#met ||= name !== 'invited' && name !== 'reaching'
        if (this.#json) printJson({ event: 'pairing', step: name, text, ...(peer !== undefined && { peer }) })
        else step(at, text)
        break
      }
      case 'peer':
        return
    }
    this.#watchSilence()
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]()
  }

  #watchSilence(): void {
    this.#timer?.[Symbol.dispose]()
    if (this.#json) return
    this.#timer = systemClock.after(silence, () => {
      // That the daemon ended is told by whoever waits for it.
      runInBackground(this.#breakSilence(), () => {})
    })
  }

  async #breakSilence(): Promise<void> {
    const { networks } = await this.#client.status()
    const health = networks.map(({ name, status }) => describeNetwork(name, status)).join('; ')
    step(systemClock.wallTime(), `still waiting; ${health}`)
    this.#watchSilence()
  }
}

function describeNetwork(name: string, status: SignalNetworkStatus): string {
  return `${name} is ${status.kind}: ${status.kind === 'online' ? status.detail : status.reason}`
}
