/** Our OTR conversation against libotr. Time is virtual, so lost messages cost no waiting. */

import assert from 'node:assert/strict'
import { generateOtrPrivateKey, type OtrAccount, otrAccount, randomInstanceTag } from '../../src/secret/otr/account.ts'
import { OtrConversation, type OtrEffect, type OtrEffects } from '../../src/secret/otr/conversation.ts'
import { decodeMessage } from '../../src/secret/otr/messages.ts'
import { compareBytes, fromBase64, toHex, toUtf8 } from '../../src/util/bytes.ts'
import { systemRandom } from '../../src/util/random.ts'
import { Libotr, missing, version } from './peers/libotr.ts'
import type { InteropScenario } from './scenario.ts'

type Pass = (text: string, to: 'us' | 'libotr') => string | undefined

interface TalkOptions {
  readonly maximumTextBytes?: number
  /** Who sends the D-H Commit when we start: the end with the lower fingerprint. Left to chance unless given. */
  readonly begins?: 'us' | 'libotr'
}

/** Both ends and the wires between them. */
class Talk {
  readonly libotr: Libotr
  readonly account: OtrAccount
  us: OtrConversation
  readonly events: Exclude<OtrEffect, { readonly kind: 'send' }>[] = []
  readonly #sent: string[] = []
  readonly #options: TalkOptions
  #now = 0

  constructor(libotr: Libotr, account: OtrAccount, options: TalkOptions) {
    this.libotr = libotr
    this.account = account
    this.#options = options
    this.us = this.#conversation()
  }

  /** We forget everything but the account. */
  restart(): void {
    this.us = this.#conversation()
    this.#sent.length = 0
    this.events.length = 0
  }

  do(act: (us: OtrConversation, now: number) => OtrEffects | undefined): void {
    const effects = act(this.us, this.#now)
    if (effects === undefined) throw new Error('We are not secure')
    for (const effect of effects) {
      if (effect.kind === 'send') this.#sent.push(...effect.texts)
      else this.events.push(effect)
    }
  }

  /** Carries texts both ways until there are none; `pass` may change or lose one. */
  async settle(pass: Pass = (text) => text): Promise<void> {
    for (let rounds = 0; this.#sent.length + this.libotr.sent.length > 0; rounds++) {
      if (rounds > 200) throw new Error('The two ends never come to rest')
      const [toLibotr, toUs] = [this.#sent.splice(0), this.libotr.sent.splice(0)]
      for (const text of toLibotr) {
        const passed = pass(text, 'libotr')
        if (passed !== undefined) await this.libotr.receive(passed)
      }
      for (const text of toUs) {
        const passed = pass(text, 'us')
        if (passed !== undefined) this.do((us, now) => us.receive(passed, now))
      }
    }
  }

  /**
   * Runs our timers until a message passes both ways; ms of virtual time that took. When libotr is the end that is not
   * secure, it is its own next message that makes it ask.
   */
  async recover(limit = 20_000): Promise<number> {
    const start = this.#now
    for (;;) {
      await this.settle()
      for (let tries = 0; tries < 2 && this.us.state.kind === 'encrypted'; tries++) {
        if (await this.#passesBothWays()) return this.#now - start
      }
      const due = this.us.deadline
      assert.ok(due !== undefined && due < start + limit, 'not secure again in time')
      this.#now = due
      this.do((us, now) => us.tick(now))
    }
  }

  advance(milliseconds: number): void {
    this.#now += milliseconds
  }

  async agree(): Promise<void> {
    this.do((us, now) => us.start(now))
    await this.settle()
    await this.checkSecure()
  }

  /** Both ends name each other's fingerprint, and messages pass. */
  async checkSecure(): Promise<void> {
    const { state } = this.us
    assert.ok(state.kind === 'encrypted')
    assert.deepEqual(state.agreement.fingerprint, this.libotr.fingerprint)
    assert.equal(this.libotr.texts('secure').at(-1), toHex(this.account.fingerprint))
    assert.ok(await this.#passesBothWays(), 'messages do not pass')
  }

  messages(): string[] {
    return this.events.flatMap((event) => (event.kind === 'message' ? [event.text] : []))
  }

  results(): boolean[] {
    return this.events.flatMap((event) => (event.kind === 'smp-result' ? [event.equal] : []))
  }

  async #passesBothWays(): Promise<boolean> {
    const seen = [this.libotr.texts('message').length, this.messages().length]
    this.do((us, now) => us.send('from us: äöü', now))
    await this.settle()
    if (this.us.state.kind !== 'encrypted') return false
    await this.libotr.say('from libotr: äöü')
    await this.settle()
    const [there, here] = [this.libotr.texts('message').slice(seen[0]), this.messages().slice(seen[1])]
    return there.includes('from us: äöü') && here.some((text) => text.endsWith('from libotr: äöü'))
  }

  #conversation(): OtrConversation {
    const { maximumTextBytes = 1372 } = this.#options
    const pinned = this.libotr.fingerprint
    return new OtrConversation({ account: this.account, pinned, random: systemRandom, maximumTextBytes })
  }
}

async function newAccount(libotr: Libotr, begins: TalkOptions['begins']): Promise<OtrAccount> {
  for (;;) {
    const privateKey = await generateOtrPrivateKey()
    const account = otrAccount({ privateKey, instanceTag: randomInstanceTag(systemRandom) })
    const lower = compareBytes(account.fingerprint, libotr.fingerprint) < 0 ? 'us' : 'libotr'
    if (begins === undefined || begins === lower) return account
  }
}

function scenario(name: string, story: (talk: Talk) => Promise<string>, options: TalkOptions = {}): InteropScenario {
  return {
    peer: 'libotr',
    name,
    missing,
    version,
    run: async ({ signal }) => {
      await using libotr = await Libotr.open(signal)
      return await story(new Talk(libotr, await newAccount(libotr, options.begins), options))
    },
  }
}

/** Loses the first binary message of this type ("R" Reveal Signature, "S" Signature, …) to this end. */
function losing(type: string, to: 'us' | 'libotr'): Pass {
  let lost = false
  return (text, direction) => {
    if (lost || direction !== to || !text.startsWith(`?OTR:AAM${type}`)) return text
    lost = true
    return undefined
  }
}

/** Changes one character inside the ciphertext of the first data message to this end. */
function tampering(to: 'us' | 'libotr'): Pass {
  let done = false
  return (text, direction) => {
    if (done || direction !== to || !text.startsWith('?OTR:AAMD')) return text
    done = true
    const at = text.length - 60
    return `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`
  }
}

async function prove(talk: Talk, secrets: { readonly us: string; readonly libotr: string }, question?: string) {
  talk.do((us, now) => us.startSmp({ secret: toUtf8(secrets.us), question }, now))
  await talk.settle()
  assert.deepEqual(talk.libotr.texts('smp'), ['asked'])
  await talk.libotr.answer(secrets.libotr)
  await talk.settle()
  return [talk.results(), talk.libotr.texts('smp').slice(1)]
}

async function answer(talk: Talk, secrets: { readonly us: string; readonly libotr: string }, question?: string) {
  await talk.libotr.prove(secrets.libotr, question)
  await talk.settle()
  assert.deepEqual(talk.events.at(-1), { kind: 'smp-asked', question })
  talk.do((us, now) => us.answerSmp(toUtf8(secrets.us), now))
  await talk.settle()
  return [talk.results(), talk.libotr.texts('smp')]
}

const same = { us: 'a shared secret', libotr: 'a shared secret' }
const other = { us: 'a shared secret', libotr: 'another one' }
const exchanges = 100

export const scenarios: readonly InteropScenario[] = [
  scenario(
    'we begin the key exchange',
    async (talk) => {
      await talk.agree()
      return 'messages pass both ways'
    },
    { begins: 'us' },
  ),

  scenario(
    'libotr begins the key exchange after our query',
    async (talk) => {
      await talk.agree()
      return 'messages pass both ways'
    },
    { begins: 'libotr' },
  ),

  scenario('libotr asks, we begin the key exchange', async (talk) => {
    await talk.libotr.query()
    talk.do((us, now) => us.start(now))
    await talk.settle()
    await talk.checkSecure()
    return 'messages pass both ways'
  }),

  scenario('both ends ask and begin at the same time', async (talk) => {
    for (let round = 0; round < 20; round++) {
      talk.restart()
      await talk.libotr.restart()
      await talk.libotr.query()
      await talk.libotr.receive('?OTRv3?')
      talk.do((us, now) => us.start(now))
      await talk.settle()
      await talk.checkSecure()
    }
    return '20 times'
  }),

  scenario('sixty messages in turn move the keys and reveal the old MAC keys', async (talk) => {
    await talk.agree()
    talk.events.length = 0
    const { state } = talk.us
    assert.ok(state.kind === 'encrypted')
    const before = state.ring.keyIds
    const revealed = { us: 0, libotr: 0 }
    const count: Pass = (text, to) => {
      const message = decodeMessage(fromBase64(text.slice(5, -1)) ?? new Uint8Array())
      if (message?.kind === 'data') revealed[to] += message.oldMacKeys.length / 20
      return text
    }
    for (let turn = 0; turn < 30; turn++) {
      talk.do((us, now) => us.send(`ping ${turn}`, now))
      await talk.settle(count)
      await talk.libotr.say(`pong ${turn}`)
      await talk.settle(count)
    }
    assert.equal(talk.messages().length, 30)
    assert.equal(talk.libotr.texts('message').filter((text) => text.startsWith('ping')).length, 30)
    const after = state.ring.keyIds
    assert.deepEqual(after, { own: before.own + 30, their: before.their + 30 })
    assert.ok(revealed.us >= 28 && revealed.libotr >= 28, `revealed ${JSON.stringify(revealed)}`)
    return `key ids moved from ${before.own} to ${after.own}, revealed to ${JSON.stringify(revealed)}`
  }),

  scenario(
    'long messages travel in fragments both ways',
    async (talk) => {
      await talk.libotr.limit(300)
      await talk.agree()
      const long = 'x'.repeat(3000)
      talk.do((us, now) => us.send(long, now))
      await talk.libotr.say(long)
      await talk.settle()
      assert.ok(talk.messages().includes(long) && talk.libotr.texts('message').includes(long))
      return '3000 characters in pieces of 300 bytes, the key exchange too'
    },
    { maximumTextBytes: 300 },
  ),

  scenario('SMP begun by us with the same secret', async (talk) => {
    await talk.agree()
    assert.deepEqual(await prove(talk, same), [[true], ['succeeded']])
    return 'both ends say equal'
  }),

  scenario('SMP begun by us with a question and another secret', async (talk) => {
    await talk.agree()
    assert.deepEqual(await prove(talk, other, 'Which one?'), [[false], ['failed']])
    return 'both ends say different'
  }),

  scenario('SMP begun by libotr with a question and the same secret', async (talk) => {
    await talk.agree()
    assert.deepEqual(await answer(talk, same, 'Which one?'), [[true], ['succeeded']])
    return 'both ends say equal'
  }),

  scenario('SMP begun by libotr with another secret', async (talk) => {
    await talk.agree()
    assert.deepEqual(await answer(talk, other), [[false], ['failed']])
    return 'both ends say different'
  }),

  scenario('SMP is aborted', async (talk) => {
    await talk.agree()
    await talk.libotr.prove('a shared secret')
    await talk.settle()
    talk.do((us, now) => us.abortSmp(now))
    await talk.settle()
    assert.deepEqual([talk.results(), talk.libotr.texts('smp')], [[false], ['aborted']])
    return 'libotr says aborted'
  }),

  scenario('either end ends the conversation and agrees again', async (talk) => {
    await talk.agree()
    talk.do((us, now) => us.end(now))
    await talk.settle()
    assert.equal(talk.libotr.texts('finished').length, 1)
    await talk.libotr.end()
    await talk.agree()
    await talk.libotr.end()
    await talk.settle()
    assert.equal(talk.us.state.kind, 'finished')
    await talk.agree()
    return 'twice'
  }),

  scenario('libotr restarts with its tag, or with a new one, and we start when it is back', async (talk) => {
    await talk.agree()
    await talk.libotr.restart()
    await talk.agree()
    await talk.libotr.restart({ forget: ['tag'] })
    await talk.agree()
    return 'secure in one exchange each time'
  }),

  scenario('libotr restarts and nobody notices', async (talk) => {
    await talk.agree()
    await talk.libotr.restart()
    talk.advance(10_000)
    await talk.libotr.say('are you there?')
    await talk.settle()
    await talk.checkSecure()
    return 'its next message brings the conversation back'
  }),

  scenario('we restart', async (talk) => {
    await talk.agree()
    talk.restart()
    await talk.agree()
    return 'secure in one exchange'
  }),

  scenario('we restart, and a message for the old conversation comes first', async (talk) => {
    await talk.agree()
    talk.restart()
    talk.do((us, now) => us.start(now))
    await talk.settle(() => undefined)
    talk.advance(3_000)
    await talk.libotr.say('lost')
    await talk.settle()
    await talk.recover()
    await talk.checkSecure()
    return 'and cannot keep us from agreeing'
  }),

  scenario('a message with a changed ciphertext is refused by both ends', async (talk) => {
    await talk.agree()
    talk.advance(10_000)
    const seen = talk.messages().length
    await talk.libotr.say('to be changed')
    await talk.settle(tampering('us'))
    assert.equal(talk.us.stats().dropped['bad mac'], 1)
    assert.equal(talk.messages().slice(seen).includes('to be changed'), false)
    talk.advance(10_000)
    talk.do((us, now) => us.send('to be changed', now))
    await talk.settle(tampering('libotr'))
    assert.equal(talk.libotr.texts('message').includes('to be changed'), false)
    await talk.recover()
    return 'and messages pass again afterwards'
  }),

  ...(
    [
      ['D-H Commit', 'C', 'libotr'],
      ['D-H Key', 'K', 'us'],
      ['Reveal Signature', 'R', 'libotr'],
      ['Signature', 'S', 'us'],
    ] as const
  ).map(([name, type, to]) =>
    scenario(
      `a lost ${name} message of an exchange that we began is made good`,
      async (talk) => {
        talk.do((us, now) => us.start(now))
        await talk.settle(losing(type, to))
        assert.notEqual(talk.us.state.kind, 'encrypted')
        const waited = await talk.recover()
        return `after ${Math.round(waited)} ms`
      },
      { begins: 'us' },
    ),
  ),

  ...(
    [
      ['D-H Key', 'K', 'libotr'],
      ['Reveal Signature', 'R', 'us'],
      ['Signature', 'S', 'libotr'],
    ] as const
  ).map(([name, type, to]) =>
    scenario(
      `a lost ${name} message of an exchange that libotr began is made good`,
      async (talk) => {
        talk.do((us, now) => us.start(now))
        await talk.settle(losing(type, to))
        assert.deepEqual(talk.libotr.texts('secure'), [])
        const waited = await talk.recover()
        return `after ${Math.round(waited)} ms`
      },
      { begins: 'libotr' },
    ),
  ),

  scenario('the key exchange with a fresh key at the other end every time', async (talk) => {
    const times: number[] = []
    for (let round = 0; round < exchanges; round++) {
      await talk.libotr.restart({ forget: ['key', 'tag'] })
      talk.restart()
      const start = performance.now()
      talk.do((us, now) => us.start(now))
      await talk.settle()
      times.push(performance.now() - start)
      await talk.checkSecure()
    }
    times.sort((a, b) => a - b)
    return `${times.length} of ${exchanges}; median ${times[exchanges / 2]?.toFixed(1)} ms`
  }),
]
