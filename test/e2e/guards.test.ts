/**
 * wireguard-go as the guard of a whole device, against a device with the embedded one, each behind a NAT of the lab: what
 * people do, and what happens to programs. The run is guards-inside.ts. Root only.
 */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { GuardsRun } from './guards-inside.ts'
import { processesGone, start } from './run.ts'

const isHere = spawnSync('wireguard-go', ['--version']).error === undefined
const skip = isHere ? false : 'wireguard-go is not installed: apt install wireguard-go'
const nothing = { programs: 0, links: [], routes: [], sockets: [], undoLog: false }

const program = fileURLToPath(new URL('guards-outside.js', import.meta.url))

test('a device with wireguard-go: pairs, connects, moves, outlives its program, and leaves nothing', {
  skip,
}, async () => {
  const sockets = (): readonly string[] => (existsSync('/run/wireguard') ? readdirSync('/run/wireguard') : [])
  const before = sockets().filter((name) => name.startsWith('pg-tun-'))
  const run = start([process.execPath, '--enable-source-maps', program])
  const { status } = await run.ended
  assert.equal(status, 0, run.output.stderr)
  const result: GuardsRun = JSON.parse(run.output.stdout.trim().split('\n').at(-1) ?? '')

  const [onA, onB] = result.guards
  assert.deepEqual([onA?.kind, onA?.interface, onA?.dataPlane], ['wireguard-go', 'pg-tun-a', 'process'])
  assert.match(onA?.implementation ?? '', /^wireguard-go \d/)
  assert.equal(onB?.kind, 'embedded')
  assert.deepEqual(result.copies, [true, true, true], 'SHA-256 of what was sent and what arrived')
  assert.ok(result.addressChangeGap < 6000, `${result.addressChangeGap} ms after the change of address`)

  // The first time all is made anew at once, the second time a second later.
  assert.ok(result.programKilledGap < 3000, `${result.programKilledGap} ms after the program was killed`)
  assert.ok(result.interfaceDeletedGap < 6000, `${result.interfaceDeletedGap} ms after the interface was deleted`)
  assert.equal(new Set(result.programs).size, 3, 'one program after the other, and one at a time')

  assert.deepEqual(result.leftByStop, nothing)
  // Nobody could clean up, but the program must not go on without us.
  assert.deepEqual(result.leftByKill, { ...nothing, sockets: ['pg-tun-a.sock'], undoLog: true })
  assert.equal(result.undoneAtStart, true)
  assert.deepEqual(result.leftAtEnd, nothing)
  await processesGone(run)
  assert.deepEqual(
    sockets().filter((name) => name.startsWith('pg-tun-')),
    before,
  )
})
