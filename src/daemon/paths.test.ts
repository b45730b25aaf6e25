import assert from 'node:assert/strict'
import { test } from 'node:test'
import { controlSocketPath, isPipe, logFilePath, type PathOptions, stateFolderPath } from './paths.ts'

test('the state folder is the chosen one, root’s or the user’s', () => {
  const folder = (options: Omit<PathOptions, 'platform'>): string => stateFolderPath({ ...options, platform: 'linux' })
  assert.equal(folder({ environment: { PUNCHGUARD_DIR: '/x/y/' }, userId: 0 }), '/x/y')
  assert.equal(folder({ environment: { PUNCHGUARD_DIR: '' }, userId: 0 }), '/var/lib/punchguard')
  assert.equal(folder({ environment: { XDG_STATE_HOME: '/s' }, userId: 7 }), '/s/punchguard')
  assert.equal(folder({ environment: { HOME: '/h' }, userId: 7 }), '/h/.local/state/punchguard')
})

test('a socket path too long for the system becomes a short one, the same every time', () => {
  const platform = 'linux' as const
  const short = controlSocketPath('/var/lib/punchguard', { environment: {}, userId: 0, platform })
  assert.equal(short, '/var/lib/punchguard/control.sock')
  const long = `/${'x'.repeat(120)}`
  for (const options of [
    { environment: {}, userId: 0, platform },
    { environment: { XDG_RUNTIME_DIR: '/run/user/7' }, userId: 7, platform },
    { environment: { XDG_RUNTIME_DIR: long }, userId: 7, platform },
  ]) {
    const path = controlSocketPath(long, options)
    assert.ok(path.length <= 100, path)
    assert.equal(controlSocketPath(long, options), path)
    assert.notEqual(controlSocketPath(`${long}y`, options), path)
  }
})

test('macOS keeps application support in Library, Windows local data out of the sight of others', () => {
  const macos = { environment: { HOME: '/Users/a', XDG_STATE_HOME: '/s' }, platform: 'darwin' } as const
  assert.equal(stateFolderPath({ ...macos, userId: 501 }), '/Users/a/Library/Application Support/PunchGuard')
  assert.equal(stateFolderPath({ ...macos, userId: 0 }), '/Library/Application Support/PunchGuard')
  const windows = {
    environment: { LOCALAPPDATA: 'C:\\Users\\a\\AppData\\Local' },
    userId: undefined,
    platform: 'win32',
  } as const
  const folder = stateFolderPath(windows)
  assert.equal(folder, 'C:\\Users\\a\\AppData\\Local\\PunchGuard')
  assert.equal(stateFolderPath({ ...windows, environment: { PUNCHGUARD_DIR: 'D:/pg/' } }), 'D:\\pg')
  assert.ok(logFilePath(folder).endsWith('daemon.log'))
})

test('the control socket of Windows is a pipe, the same however the folder is written', () => {
  const options = { environment: {}, userId: undefined, platform: 'win32' } as const
  const path = controlSocketPath('C:\\State', options)
  assert.match(path, /^\\\\\.\\pipe\\punchguard-[0-9a-f]{16}$/)
  assert.equal(controlSocketPath('c:\\state', options), path)
  assert.notEqual(controlSocketPath('C:\\Other', options), path)
  assert.deepEqual([path, '/run/punchguard/control.sock'].map(isPipe), [true, false])
})
