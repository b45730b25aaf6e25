import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { createConnection, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { DeviceEvent } from '../../src/api/device.ts'
import { type ErrorCode, PunchGuardError } from '../../src/api/errors.ts'
import { ControlClient } from '../../src/daemon/control-client.ts'
import type { PeerCredentials } from '../../src/daemon/control-server.ts'
import { type Daemon, startDaemon } from '../../src/daemon/daemon.ts'
import { formatCard } from '../../src/pairing/card.ts'
import { systemClock } from '../../src/util/clock.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { FakeDevice, type FakeFaults, fakeCard } from './fake-device.ts'

interface Started {
  readonly daemon: Daemon
  readonly device: FakeDevice
  readonly client: ControlClient
  readonly folder: string
  readonly socketPath: string
}

async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'pg-daemon-'))
  t.after(() => rm(folder, { recursive: true }))
  return folder
}

interface StartOptions {
  readonly folder?: string
  readonly faults?: FakeFaults
  readonly peerCredentials?: PeerCredentials
}

async function start(t: TestContext, options: StartOptions = {}): Promise<Started> {
  const folder = options.folder ?? (await temporaryFolder(t))
  const socketPath = join(folder, 'control.sock')
  let device: FakeDevice | undefined
  const daemon = await startDaemon({
    stateFolder: folder,
    socketPath,
    hostName: 'home',
    version: '1.2.3',
    openLogger: () => silentLogger,
    createDevice: async (given) => {
      device = await FakeDevice.create({ ...given, clock: systemClock, faults: options.faults ?? {} })
      return device
    },
    ...(options.peerCredentials && { peerCredentials: options.peerCredentials }),
  })
  t.after(() => daemon[Symbol.asyncDispose]())
  assert.ok(device !== undefined)
  return { daemon, device, client: new ControlClient(socketPath), folder, socketPath }
}

function isError(code: ErrorCode, message: RegExp = /./) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof PunchGuardError, String(error))
    assert.equal(error.code, code, error.message)
    assert.match(error.message, message)
    assert.ok(error.hint.length > 0)
    return true
  }
}

interface RawAnswer {
  readonly status: number
  readonly type: string | undefined
  readonly body: string
}

function ask(
  socketPath: string,
  options: {
    readonly method?: string
    readonly path: string
    readonly headers?: Record<string, string>
    readonly body?: string
  },
): Promise<RawAnswer> {
  const { method = 'GET', path, headers = { host: 'punchguard' }, body } = options
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path, headers, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, type: response.headers['content-type'], body: text }),
      )
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

test('a client reads the status, brings the device up and down, and pairs by hand', async (t) => {
  const { client, folder } = await start(t)
  const status = await client.status()
  assert.deepEqual([status.name, status.version, status.up, status.peers.length], ['home', '1.2.3', false, 0])
  assert.equal(await client.exportCard(), formatCard(fakeCard('home')))
  assert.equal(await client.importCard(formatCard(fakeCard('laptop'))), 'laptop')
  await assert.rejects(
    client.importCard(formatCard(fakeCard('laptop'))),
    isError('PEER_EXISTS', /already, as "laptop"/),
  )
  await assert.rejects(client.importCard('pg1nonsense'), isError('CARD_INVALID'))
  const up = await client.up()
  assert.deepEqual([up.up, up.peers[0]?.state, up.peers[0]?.path?.roundTrip], [true, 'connected', 23.4])
  assert.equal((await client.down()).up, false)
  await assert.rejects(client.forget('loptop'), isError('PEER_UNKNOWN'))
  await client.forget('laptop')
  assert.equal((await client.status()).peers.length, 0)
  assert.match(await readFile(join(folder, 'config.toml'), 'utf8'), /^# mtu = /m)
})

test('two devices pair: the inviter hears every step, the joiner gets the name', async (t) => {
  const inviter = await start(t, { faults: { guest: 'laptop' } })
  const abort = new AbortController()
  const { events } = await inviter.client.subscribe({ signal: abort.signal })
  const { code, expires } = await inviter.client.invite({ validFor: 60_000 })
  assert.ok(expires > systemClock.wallTime() + 59_000 && expires < systemClock.wallTime() + 62_000)
  const steps: string[] = []
  for await (const event of events) {
    if (event.kind === 'pairing') steps.push(event.step)
    if (event.kind === 'pairing' && event.step === 'paired') break
  }
  assert.deepEqual(steps, ['invited', 'reached', 'paired'])
  await assert.rejects(inviter.client.join(code), isError('INVITE_OWN'))
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'config.toml'), 'name = "laptop"\n')
  const joiner = await start(t, { folder })
  assert.equal(await joiner.client.join(code), 'home')
  await assert.rejects(joiner.client.join(code), isError('PEER_EXISTS'))
})

test('a client that goes away cancels its join', async (t) => {
  const inviter = await start(t)
  const { code } = await inviter.client.invite()
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'config.toml'), 'name = "laptop"\n')
  const joiner = await start(t, { folder, faults: { silent: true } })
  const abort = new AbortController()
  const cancelled = new Promise<void>((resolve) => {
    const { join } = joiner.device
    joiner.device.join = (text, options) => {
      options.signal.addEventListener('abort', () => resolve())
      return join.call(joiner.device, text, options)
    }
  })
  joiner.device.subscribe(() => abort.abort(new Error('enough')))
  await assert.rejects(joiner.client.join(code, { signal: abort.signal }), /enough/)
  await cancelled
})

test('what a browser could send is refused', async (t) => {
  const { socketPath } = await start(t)
  for (const headers of [
    { host: 'punchguard', origin: 'https://evil.example' },
    { host: 'evil.example' },
    { host: 'punchguard', origin: 'null' },
  ]) {
    const answer = await ask(socketPath, { path: '/v1/status', headers })
    assert.equal(answer.status, 403)
    assert.equal(answer.type, 'application/problem+json')
    assert.equal(JSON.parse(answer.body).code, 'PERMISSION_DENIED')
  }
  assert.equal((await ask(socketPath, { path: '/v1/status', headers: { host: 'localhost:80' } })).status, 200)
})

test('another user gets no answer, root and the owner do', async (t) => {
  const own = process.getuid?.() ?? 0
  for (const [uid, status] of [
    [own, 200],
    [0, 200],
    [own + 1, 403],
  ] as const) {
    const { socketPath } = await start(t, { peerCredentials: async () => ({ uid }) })
    assert.equal((await ask(socketPath, { path: '/v1/status' })).status, status)
  }
  const { socketPath } = await start(t, { peerCredentials: async () => undefined })
  assert.equal((await ask(socketPath, { path: '/v1/status' })).status, 403)
})

test('requests that make no sense get a problem that says why', async (t) => {
  const { socketPath } = await start(t)
  const json = { host: 'punchguard', 'content-type': 'application/json' }
  const cases = [
    { method: 'GET', path: '/', status: 404, detail: /no GET \// },
    { method: 'GET', path: '/v2/status', status: 404, detail: /no GET/ },
    { method: 'POST', path: '/v1/status', status: 405, detail: /no POST/ },
    { method: 'POST', path: '/v1/joins', headers: json, body: '{"cod":1}', status: 400, detail: /wrong at cod/ },
    {
      method: 'POST',
      path: '/v1/joins',
      headers: json,
      body: '{"code":""}',
      status: 400,
      detail: /there is no invite/,
    },
    { method: 'POST', path: '/v1/joins', headers: json, body: '{"code"', status: 400, detail: /not valid JSON/ },
    { method: 'POST', path: '/v1/joins', headers: { host: 'punchguard' }, body: '{}', status: 400, detail: /not JSON/ },
    {
      method: 'POST',
      path: '/v1/joins',
      headers: json,
      body: `"${'x'.repeat(20_000)}"`,
      status: 400,
      detail: /too large/,
    },
    { method: 'POST', path: '/v1/invites', headers: json, body: '{"validFor":-1}', status: 400, detail: /validFor/ },
    { method: 'POST', path: '/v1/invites', headers: json, body: '[1]', status: 400, detail: /wrong at/ },
    { method: 'DELETE', path: '/v1/peers/%ff', status: 404, detail: /no peer called/ },
  ]
  for (const { status, detail, ...sent } of cases) {
    const answer = await ask(socketPath, sent)
    assert.equal(answer.status, status, `${sent.method} ${sent.path} ${sent.body ?? ''}: ${answer.body}`)
    const problem = JSON.parse(answer.body)
    assert.match(problem.detail, detail)
    assert.equal(problem.type, `urn:punchguard:error:${problem.code}`)
    assert.ok(problem.hint.length > 0)
  }
  assert.equal((await ask(socketPath, { path: '/v1/status' })).status, 200)
})

test('bytes that are no HTTP, and clients that go away, do no harm', async (t) => {
  const { client, socketPath } = await start(t)
  const garbage = [
    '',
    'GET',
    '\0\xff\r\n\r\n',
    'POST /v1/joins HTTP/1.1\r\nHost: punchguard\r\nContent-Length: 50\r\n\r\n{',
    `GET /${'x'.repeat(20_000)} HTTP/1.1\r\n\r\n`,
  ]
  for (const bytes of garbage) {
    await new Promise<void>((resolve) => {
      const socket = createConnection(socketPath, () => socket.end(bytes, 'latin1'))
      socket
        .on('error', () => {})
        .on('close', () => resolve())
        .resume()
    })
  }
  assert.equal((await client.status()).name, 'home')
})

test('a fault of ours is told as one, and the daemon lives on', async (t) => {
  const { client, device } = await start(t)
  device.up = () => Promise.reject(new TypeError('x is not a function'))
  await assert.rejects(client.up(), isError('DAEMON_FAILED', /x is not a function/))
  assert.equal((await client.status()).up, false)
})

test('an event stream gives what was missed, and says when it cannot', async (t) => {
  const { client, device, socketPath } = await start(t)
  await client.importCard(formatCard(fakeCard('laptop')))
  const first = new AbortController()
  const { events } = await client.subscribe({ signal: first.signal })
  await client.up()
  const seen: DeviceEvent[] = []
  for await (const event of events) {
    seen.push(event)
    break
  }
  assert.equal(seen[0]?.kind, 'peer')
  await device.down()
  const read = (id: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const headers = { host: 'punchguard', 'last-event-id': id }
      const sent = request({ socketPath, path: '/v1/events', headers, agent: false }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk
          if (text.includes('"state":"down"')) sent.destroy()
        })
        response.on('close', () => resolve(text))
        response.on('error', () => {})
      })
      sent.on('error', (error) => (sent.destroyed ? undefined : reject(error)))
      sent.end()
    })
  const all = await read('other-1')
  assert.match(all, /^event: missed$/m)
  const ids = [...all.matchAll(/^id: (.+)$/gm)].map((match) => match[1] ?? '')
  assert.equal(ids.length, 2)
  const missed = await read(ids[0] ?? '')
  assert.doesNotMatch(missed, /event: missed/)
  assert.deepEqual(
    [...missed.matchAll(/^id: (.+)$/gm)].map((match) => match[1]),
    [ids[1]],
  )
})

test('a second daemon is refused and changes nothing', async (t) => {
  const { folder, client } = await start(t)
  await writeFile(join(folder, '.half.tmp'), '')
  await assert.rejects(start(t, { folder }), isError('DAEMON_RUNNING', /running already/))
  assert.ok(existsSync(join(folder, '.half.tmp')))
  assert.equal((await client.status()).name, 'home')
})

test('a socket that a killed daemon left behind is replaced, another file is not', async (t) => {
  const folder = await temporaryFolder(t)
  const socketPath = join(folder, 'control.sock')
  // A listening socket whose process vanished: bound, then moved aside and back, so that closing does not remove it.
  const { renameSync } = await import('node:fs')
  const orphan = createServer()
  await new Promise<void>((resolve) => orphan.listen(socketPath, resolve))
  renameSync(socketPath, `${socketPath}.kept`)
  await new Promise((resolve) => orphan.close(resolve))
  renameSync(`${socketPath}.kept`, socketPath)
  const { daemon, client } = await start(t, { folder })
  assert.equal((await client.status()).name, 'home')
  assert.equal((await stat(socketPath)).mode & 0o777, 0o600)
  await daemon[Symbol.asyncDispose]()
  await writeFile(socketPath, 'mine')
  await assert.rejects(start(t, { folder }), isError('ADDRESS_IN_USE', /something else/))
  assert.equal(await readFile(socketPath, 'utf8'), 'mine')
})

test('stopping gives everything back: the device, the socket, the lock', async (t) => {
  const { daemon, device, client, folder, socketPath } = await start(t)
  await client.stop()
  await daemon.stopRequested
  await daemon[Symbol.asyncDispose]()
  assert.ok(device.disposed)
  assert.ok(!existsSync(socketPath))
  await assert.rejects(client.status(), isError('DAEMON_NOT_RUNNING'))
  const again = await start(t, { folder })
  assert.equal((await again.client.status()).name, 'home')
})

test('a start that fails half-way leaves nothing behind', async (t) => {
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'config.toml'), 'prot = 1\n')
  await assert.rejects(start(t, { folder }), isError('CONFIG_INVALID', /unknown key "prot"/))
  await writeFile(join(folder, 'config.toml'), '')
  await writeFile(join(folder, 'peers.json'), '{"version":1,')
  await assert.rejects(start(t, { folder }), isError('STATE_DAMAGED', /peers\.json is damaged/))
  await rm(join(folder, 'peers.json'))
  await mkdir(join(folder, 'control.sock'))
  await assert.rejects(start(t, { folder }), isError('ADDRESS_IN_USE'))
  await rm(join(folder, 'control.sock'), { recursive: true })
  const { client } = await start(t, { folder })
  assert.equal((await client.status()).name, 'home')
})
