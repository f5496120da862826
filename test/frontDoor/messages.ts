import type { Random } from "../random.ts"

/** The grammar of the rpc messages that the fuzzer sends to the app of `worker/notes.ts`: mostly right, then damaged. */

/** What the messages of one round have in common. */
export interface Thread {
  readonly random: Random
  /** Ids that were used, for acknowledgements, interrupts and reuse. */
  readonly ids: Array<unknown>
  /** Numbered mutations that were sent, to be sent again. */
  readonly numbered: Array<object>
  /** Tokens that must be refused. */
  readonly badTokens: ReadonlyArray<string>
  /** Makes texts of the round unique. */
  next: number
}

/** Rpcs whose handlers fail on purpose when they are asked to. */
export const dying: ReadonlySet<unknown> = new Set(["end", "act.end", "notes.addAndEnd", "live:end"])

const endings = [
  "typed failure",
  "undeclared failure",
  "defect",
  "thrown error",
  "interruption",
  "promise",
  "result that does not fit"
]

const names = ["__proto__", "constructor", "toString", "hasOwnProperty", "prototype", "valueOf"]
const texts = [
  "",
  " ",
  "\u0000",
  "a\u0000b",
  "\ud83d",
  "\udc01\ud83d",
  "🐁",
  "\u2028",
  "'; DROP TABLE notes; --",
  '"',
  "\\"
]
const numbers = [0, -0, -1, 1.5, 1e21, 1e308, 5e-324, 2 ** 53 + 2, -(2 ** 63)]

/** Tags of rpcs that do not exist, or that no client may call. */
const noTags = [
  ...names,
  "",
  "no.such.rpc",
  "live:",
  "live:live:notes.list",
  "live:notes.add",
  "live:act.add",
  "live:__proto__",
  "Notes.list",
  "notes.list ",
  "notes",
  "dormouse/notification/0",
  "explain",
  "\u0000",
  "\ud83d"
]

/** Any JSON value. */
export const value = (random: Random, depth = 0): unknown => {
  const kind = random.int(depth > 3 ? 5 : 8)
  if (kind === 0) return random.pick([null, true, false])
  if (kind === 1) return random.pick(numbers)
  if (kind < 4) return random.pick([...texts, ...names, "x"])
  if (kind === 4) return "x".repeat(random.int(40))
  if (kind === 5) return random.array(random.int(4), () => value(random, depth + 1))
  if (kind === 6) {
    const entries = random.array(random.int(4), () => [
      random.pick([...names, ...texts, "a"]),
      value(random, depth + 1)
    ])
    return Object.fromEntries(entries)
  }
  let nested: unknown = 1
  for (let levels = random.pick([10, 100, 240]); levels > 0; levels--)
    nested = levels % 2 === 0 ? [nested] : { a: nested }
  return nested
}

const id = (thread: Thread, isSocket: boolean): unknown => {
  const { random } = thread
  const own = () => (random.chance(0.5) ? `i${thread.next++}` : thread.next++)
  const made = random.chance(isSocket ? 0.97 : 0.9)
    ? own()
    : random.pick<unknown>([
        ...numbers,
        ...names,
        ...texts,
        "x".repeat(128),
        "x".repeat(129),
        null,
        true,
        [],
        {},
        random.pick([...thread.ids, 0])
      ])
  thread.ids.push(made)
  if (thread.ids.length > 50) thread.ids.shift()
  return made
}

/** A body that no other message of this run has. */
const body = (thread: Thread): string => `n${thread.next++}-${thread.random.int(2 ** 30).toString(36)}`

const number = (thread: Thread): string => {
  const { random } = thread
  if (random.chance(0.1)) return random.pick(["", "x", "short/1", "__proto__/1", "client-aaaa/1/2", "client-aaaa/-1"])
  const count = random.int(40)
  return `client-${random.pick(["aaaa", "bbbb"])}/${count}${random.chance(0.2) ? `/${random.int(count + 1)}` : ""}`
}

/** The name of an action that runs until it is interrupted. Only sockets can interrupt one. */
const endless = (thread: Thread): readonly [string, unknown] =>
  thread.random.chance(0.5) ? ["act.wait", { name: body(thread) }] : ["act.forever", { name: body(thread), length: 10 }]

const call = (thread: Thread, isSocket: boolean): readonly [tag: string, payload: unknown] => {
  const { random } = thread
  if (random.chance(0.04)) {
    const token = random.chance(0.7) ? random.pick([...thread.badTokens, "x", "", "é", "__proto__"]) : 1
    return ["dormouse.authenticate", random.chance(0.9) ? { token } : {}]
  }
  switch (random.int(isSocket ? 15 : 14)) {
    case 0:
      return [random.pick(noTags), value(random)]
    case 1:
      return ["notes.list", {}]
    case 2:
      return [random.pick(["notes.named", "notes.namedBySql"]), { body: random.pick([...texts, ...names]) }]
    case 3:
      return ["notes.page", { size: random.pick([0, 1, 3, -1]), ...(random.chance(0.3) && { after: value(random) }) }]
    case 4:
    case 5:
      return ["whoami", {}]
    case 6:
      return ["echo", { value: value(random) }]
    case 7:
      return ["keys", { record: Object.fromEntries(names.map((name) => [name, value(random)])) }]
    case 8:
      return [random.pick(["end", "act.end", "notes.addAndEnd"]), { ending: random.pick(endings) }]
    case 9:
      return random.pick([
        ["nothing", null],
        ["nothingDone", null],
        ["header", { name: random.pick(["authorization", "x-dormouse-session", "cf-connecting-ip"]) }]
      ] as const)
    case 10:
      return [random.pick(["act.count"]), { to: random.int(5), ...(random.chance(0.3) && { failAt: 2 }) }]
    case 11:
      return ["act.add", { body: body(thread) }]
    case 12:
    case 13:
      return ["notes.add", { body: body(thread) }]
    default:
      return endless(thread)
  }
}

const headers = (thread: Thread): ReadonlyArray<readonly [string, unknown]> => {
  const { random } = thread
  if (random.chance(0.7)) return []
  const names = [
    "dormouse-have",
    "dormouse-prompt",
    "dormouse-sent-after",
    "x-dormouse-session",
    "authorization",
    "cf-connecting-ip",
    "__proto__",
    "a"
  ]
  return random.array(1 + random.int(3), () => [
    random.pick(names),
    random.pick(["1", "keeper", "", "\u0000", "é", "0"])
  ])
}

/** A call of any kind. */
const request = (thread: Thread, isSocket: boolean): object => {
  const { random } = thread
  if (thread.numbered.length > 0 && random.chance(0.05)) {
    return { ...random.pick(thread.numbered), id: id(thread, isSocket) }
  }
  const [tag, payload] = call(thread, isSocket)
  const isLive = random.chance(isSocket ? 0.2 : 0.08) && !tag.startsWith("act.")
  const made = {
    _tag: "Request",
    id: id(thread, isSocket),
    tag: isLive ? `live:${tag}` : tag,
    payload: random.chance(0.95) ? payload : value(random),
    headers: headers(thread),
    ...(random.chance(0.05) && { isNotification: random.pick([true, true, false, 1]) }),
    ...(random.chance(0.05) && { discard: random.pick([true, true, null]) }),
    ...(random.chance(0.05) && { traceId: "a".repeat(32), spanId: "b".repeat(16), sampled: true })
  }
  if (random.chance(0.02)) {
    return {
      ...made,
      [random.pick(["_tag", "tag", "headers", "payload", "traceId", "spanId", "sampled"])]: value(random)
    }
  }
  if (tag === "notes.add" && random.chance(0.3)) {
    const numbered = { ...made, headers: [...made.headers, ["dormouse-mutation", number(thread)]] }
    thread.numbered.push(numbered)
    return numbered
  }
  return made
}

/** A message of any kind. */
const message = (thread: Thread, isSocket: boolean): unknown => {
  const { ids, random } = thread
  if (random.chance(isSocket ? 0.7 : 0.93)) return request(thread, isSocket)
  const requestId = random.pick([...ids, "unknown", 0])
  return random.pick<unknown>([
    { _tag: "Ack", requestId },
    { _tag: "Ack", requestId, version: random.pick(numbers) },
    { _tag: "Interrupt", requestId },
    { _tag: "Interrupt", requestId, interruptors: [] },
    { _tag: "Ping" },
    { _tag: "Eof" },
    ...(random.chance(0.1) ? [{ _tag: "Exit", requestId }, { _tag: "Nothing" }, value(random)] : [])
  ])
}

const characters = '{}[]",:\\0-1e9.\u0000\u007f\u00ff\ud83d🐁 \n'
const words = ["null", "true", "1e999", '"x"', "{}", "[]", "-", '"__proto__":{},', '"id":"twice",']

/** A text, damaged in one place. */
const damage = (random: Random, text: string): string => {
  const at = random.int(text.length + 1)
  switch (random.int(9)) {
    case 0:
      return text.slice(0, at)
    case 1:
      return text.slice(0, at) + text.slice(at + 1 + random.int(5))
    case 2:
      return text.slice(0, at) + characters[random.int(characters.length)] + text.slice(at)
    case 3:
      return text.slice(0, at) + text.slice(random.int(text.length + 1))
    case 4:
      return text.slice(0, at) + random.pick(words) + text.slice(at + random.int(4))
    case 5:
      return text + text
    case 6:
      return `${random.pick(["\ufeff", " ", "\n", ")]}',\n"])}${text}`
    case 7:
      return `${text}${random.pick(["\n", " ", "\u0000", ",", "]"])}`
    default:
      return `${"[".repeat(at % 300)}${text}${"]".repeat(at % 300)}`
  }
}

/** Sizes of texts above the limit, and just below. */
const sizes = [1 << 10, 1 << 16, 1 << 20, (4 << 20) - 200, 4 << 20, 5 << 20]

/** The text of a socket message, or of an HTTP body. */
export const text = (thread: Thread, isSocket: boolean): string => {
  const { random } = thread
  if (random.chance(0.0003)) {
    const value = "x".repeat(random.pick(sizes))
    return JSON.stringify({ _tag: "Request", id: `i${thread.next++}`, tag: "echo", payload: { value }, headers: [] })
  }
  const count = random.chance(0.6) ? 1 : random.chance(0.02) ? 101 : random.int(6)
  const messages = random.array(count, () => message(thread, isSocket))
  if (messages.length > 1 && random.chance(0.1)) messages.push(messages[0])
  let text = JSON.stringify(count === 1 && random.chance(0.7) ? messages[0] : messages)
  // A damaged number may make one of these long.
  if (random.chance(isSocket ? 0.1 : 0.2) && !/act\.(count|forever)/.test(text)) {
    for (let edits = random.int(3); edits >= 0; edits--) text = damage(random, text)
  }
  return text
}

/** The bytes of a text, some of them damaged. */
export const bytes = (random: Random, text: string): Uint8Array<ArrayBuffer> => {
  const encoded = new Uint8Array(new TextEncoder().encode(text))
  if (encoded.length > 0 && random.chance(0.5)) encoded[random.int(encoded.length)] = random.pick([0xff, 0xc0, 0x80, 0])
  return encoded
}
