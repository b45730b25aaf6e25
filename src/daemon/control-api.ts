/**
 * What the control socket offers: one route per thing a person can do with a device (docs/control-api.md). Plain
 * functions from a request to an answer; HTTP itself is in control-server.ts.
 */

import * as v from 'valibot'
import type { Device } from '../api/device.ts'
import { PunchGuardError } from '../api/errors.ts'

export interface ControlRequest {
  /** What the path names, such as the peer. */
  readonly parameters: readonly string[]
  /** The parsed JSON body, `undefined` without one. */
  readonly body: unknown
  /** Aborted when the client goes away before it has its answer. */
  readonly signal: AbortSignal
}

export interface ControlAnswer {
  readonly status: number
  /** Sent as JSON; nothing when `undefined`. */
  readonly body?: unknown
  /** Called when the answer has gone out. */
  readonly afterwards?: () => void
}

export interface ControlRoute {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** Matches the whole path; its groups are the parameters. */
  readonly path: RegExp
  handle(request: ControlRequest): Promise<ControlAnswer>
}

const text = v.pipe(v.string(), v.maxLength(8192))

/** `stop` ends the daemon. */
export function controlRoutes(device: Device, options: { readonly stop: () => void }): readonly ControlRoute[] {
  return [
    {
      method: 'GET',
      path: /^\/v1\/status$/,
      handle: async () => ({ status: 200, body: device.status() }),
    },
    {
      method: 'POST',
      path: /^\/v1\/invites$/,
      handle: async ({ body }) => {
        const { validFor } = readBody(body, {
          schema: v.strictObject({ validFor: v.optional(v.pipe(v.number(), v.minValue(1))) }),
        })
        return { status: 201, body: await device.invite(validFor === undefined ? {} : { validFor }) }
      },
    },
    {
      method: 'POST',
      path: /^\/v1\/joins$/,
      handle: async ({ body, signal }) => {
        const { code } = readBody(body, { schema: v.strictObject({ code: text }) })
        return { status: 201, body: { peer: await device.join(code, { signal }) } }
      },
    },
    {
      method: 'POST',
      path: /^\/v1\/up$/,
      handle: async () => {
        await device.up()
        return { status: 200, body: device.status() }
      },
    },
    {
      method: 'POST',
      path: /^\/v1\/down$/,
      handle: async () => {
        await device.down()
        return { status: 200, body: device.status() }
      },
    },
    {
      method: 'GET',
      path: /^\/v1\/card$/,
      handle: async () => ({ status: 200, body: { card: device.exportCard() } }),
    },
    {
      method: 'POST',
      path: /^\/v1\/peers$/,
      handle: async ({ body }) => {
        const { card } = readBody(body, { schema: v.strictObject({ card: text }) })
        return { status: 201, body: { peer: await device.importCard(card) } }
      },
    },
    {
      method: 'DELETE',
      path: /^\/v1\/peers\/([^/]{1,200})$/,
      handle: async ({ parameters }) => {
        await device.forget(parameters[0] ?? '')
        return { status: 204 }
      },
    },
    {
      method: 'POST',
      path: /^\/v1\/stop$/,
      handle: async () => ({ status: 202, afterwards: options.stop }),
    },
  ]
}

/** A missing body is an empty object. @throws PunchGuardError USAGE */
function readBody<T>(body: unknown, options: { readonly schema: v.GenericSchema<unknown, T> }): T {
  const parsed = v.safeParse(options.schema, body ?? {})
  if (parsed.success) return parsed.output
  const place = v.getDotPath(parsed.issues[0]) ?? 'the body'
  throw new PunchGuardError('USAGE', `the request's body is wrong at ${place}`, {
    hint: 'docs/control-api.md has the fields',
  })
}
