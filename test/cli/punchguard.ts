/**
 * The command line with a device that needs no network, as a program of its own: started by cli.test.ts, and by itself
 * for the daemon. FAKE_FAULTS in the environment, JSON, says what goes wrong.
 */

import { runCommandLine } from '../../src/cli/command-line.ts'
import { errorOf } from '../../src/daemon/problem.ts'
import { systemClock } from '../../src/util/clock.ts'
import { FakeDevice } from '../daemon/fake-device.ts'

interface Faults {
  /** `create`, `up`: a problem that is thrown there. */
  readonly create?: unknown
  readonly up?: unknown
  readonly guest?: string
  readonly used?: boolean
  readonly silent?: boolean
  readonly crash?: boolean
  /** The process ends in the middle of starting. */
  readonly die?: boolean
  /** Added to the wall time, ms. */
  readonly clock?: number
}

const { FAKE_FAULTS: environment = '{}' } = process.env

process.exitCode = await runCommandLine(process.argv.slice(2), {
  createDevice: async ({ config, store, version, logger }) => {
    const { create, up, clock = 0, die, ...rest }: Faults = JSON.parse(environment)
    if (die) process.exit(3)
    if (create !== undefined) throw errorOf(create)
    const shifted = { ...systemClock, wallTime: () => systemClock.wallTime() + clock }
    const faults = { ...rest, ...(up !== undefined && { up: errorOf(up) }) }
    logger.info('a device for tests')
    return FakeDevice.create({ config, store, version, clock: shifted, faults, logger })
  },
})
