import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import { expect, it } from "vitest"
import { readAnswers, readLines } from "../../src/engine/rpc/Ndjson.ts"
import { collectAnswers, collectedLine } from "../../src/engine/worker/CollectedActions.ts"
import { defaults } from "../../src/protocol/Limits.ts"
import { errorOf } from "../deployment/Deployment.ts"

/** How the object reads the messages of an action that the Worker runs for it. */

/** A body that is read in chunks of this size, and how many of its chunks were read. */
const bodyOf = (bytes: Uint8Array, chunkSize: number) => {
  const seen = { chunks: 0, isCanceled: false }
  const stream = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const start = seen.chunks * chunkSize
        if (start >= bytes.length) return controller.close()
        seen.chunks++
        controller.enqueue(bytes.subarray(start, start + chunkSize))
      },
      cancel() {
        seen.isCanceled = true
      }
    },
    { highWaterMark: 0 }
  )
  return { stream, seen }
}

const encode = (text: string) => new TextEncoder().encode(text)
const collect = async <A>(values: AsyncIterable<A>): Promise<ReadonlyArray<A>> => {
  const all: Array<A> = []
  for await (const value of values) all.push(value)
  return all
}

const responseOf = (body: ReadableStream<Uint8Array>) =>
  new Response(body as BodyInit, { headers: { "content-type": "application/x-ndjson" } })
const limits = { resultBytes: 100_000 }
const line = (value: string) =>
  `${JSON.stringify({ _tag: "Exit", requestId: "a", exit: { _tag: "Success", value } })}\n`

it("L10: lines are the same however the body is cut", async () => {
  const texts = ['{"a":"ü語🐁"}', "{}", `"${"é".repeat(50)}"`, "last"]
  for (let size = 1; size < 80; size++) {
    const { stream } = bodyOf(encode(`\n${texts.join("\n\n")}`), size)
    expect(await collect(readLines(stream, 1000))).toEqual(texts)
  }
})

it("L10: reading the result of an action takes time in proportion to its size", async () => {
  const text = "x".repeat(8 << 20)
  const read = async () => {
    const { stream } = bodyOf(encode(`${text}\n`), 1024)
    const start = process.cpuUsage()
    const [first] = await collect(readLines(stream, text.length))
    expect(first === text).toBe(true)
    const { system, user } = process.cpuUsage(start)
    return (system + user) / 1000
  }
  // Joining what has arrived at each of the 8,192 chunks takes more than ten times as long.
  expect(Math.min(await read(), await read(), await read())).toBeLessThan(3000)
})

it("T5: the result of an action is refused as soon as more than resultBytes have arrived, and the rest is not read", async () => {
  const { seen, stream } = bodyOf(encode(line("x".repeat(1_000_000))), 1000)
  const [message, ...more] = await collect(readAnswers(responseOf(stream), "a", limits))
  expect(errorOf((message as any).exit)).toMatchObject({
    _tag: "CallError",
    reason: { _tag: "LimitExceeded", limit: "resultBytes", max: 100_000 }
  })
  expect(message).toMatchObject({ _tag: "Exit", requestId: "a" })
  expect(more).toEqual([])
  expect(seen.isCanceled).toBe(true)
  expect(seen.chunks).toBeLessThan(105)
  // The control: each message has the limit for itself.
  const two = responseOf(bodyOf(encode(line("x".repeat(90_000)).repeat(2)), 1000).stream)
  expect(await collect(readAnswers(two, "a", limits))).toHaveLength(2)
})

const refusals: ReadonlyArray<readonly [string, Response, RegExp]> = [
  ["413", Response.json({ error: "limit requestBytes is 10" }, { status: 413 }), /status 413: .*requestBytes is 10/],
  ["500", Response.json({ error: "the server could not answer", id: "x" }, { status: 500 }), /status 500/],
  ["200 and another body", Response.json({ hello: "world" }), /status 200: .*hello/],
  ["204 and no body", new Response(null, { status: 204 }), /status 204/]
]
for (const [what, response, detail] of refusals) {
  it(`S2: an action that the Worker answers with ${what} fails with Unavailable`, async () => {
    const messages = await collect(readAnswers(response, "a", limits))
    expect(messages).toMatchObject([{ _tag: "Exit", requestId: "a" }])
    expect(errorOf((messages[0] as any).exit)).toMatchObject({
      _tag: "CallError",
      reason: { _tag: "Unavailable", detail: expect.stringMatching(detail) }
    })
  })
}

const requestOf = (id: string | number, more: object = {}) =>
  ({ _tag: "Request", id, tag: "act.echo", payload: {}, headers: [], ...more }) as const
const collected: ReadonlyArray<FromServerEncoded> = [
  { _tag: "Chunk", requestId: "b", values: ["\t{"] },
  { _tag: "Exit", requestId: 'a\t"', exit: { _tag: "Success", value: "\n\t" } },
  { _tag: "Exit", requestId: 7, exit: { _tag: "Success", value: null } }
]
const collectedText = collected.map((message) => `${collectedLine(defaults)(message)}\n`).join("")

it("S2: of the actions of a body, those without an exit fail with Unavailable when their request ends early", async () => {
  const requests = [requestOf('a\t"'), requestOf("b"), requestOf(7), requestOf("n", { isNotification: true })]
  const bytes = encode(collectedText)
  for (let length = 0; length <= bytes.length; length++) {
    let isSent = false
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (isSent) return controller.error(new Error("hung"))
        isSent = true
        if (length > 0) controller.enqueue(bytes.subarray(0, length))
      }
    })
    const texts = await collectAnswers(async () => responseOf(body), requests, String)
    const messages = texts.map((text) => JSON.parse(text))
    const whole = collectedText.slice(0, length).split("\n").length - 1
    expect(messages.slice(0, whole)).toEqual(collected.slice(0, whole))
    // Each call has one exit, and a notification has none.
    const exits = messages.filter(({ _tag }) => _tag === "Exit").map(({ requestId }) => String(requestId))
    expect(exits.toSorted()).toEqual(["7", 'a\t"', "b"])
    for (const { exit } of messages.slice(whole)) {
      expect(errorOf(exit)).toMatchObject({ reason: { _tag: "Unavailable", detail: "Error: hung" } })
    }
  }
})

it("S2: a request for actions that the Worker refuses, or that fails, fails each call", async () => {
  const refuse = async () => Response.json({ error: "no" }, { status: 500 })
  const fail = () => Promise.reject(new Error("lost"))
  for (const [open, detail] of [
    [refuse, /status 500: .*no/],
    [fail, /Error: lost/]
  ] as const) {
    const [first, second] = await collectAnswers(open, [requestOf("a"), requestOf("b")], String)
    for (const text of [first!, second!]) {
      expect(errorOf(JSON.parse(text).exit).reason).toMatchObject({ detail: expect.stringMatching(detail) })
    }
  }
})
