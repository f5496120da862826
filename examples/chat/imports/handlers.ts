/**
 * Imports: cut into parts in one mutation, written part by part, and counted as the parts end.
 * The queue may hand over a part twice, so the messages have keys that are made of their lines.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Queue, Scheduler } from "effect-dormouse/jobs"
import { Me } from "../me.ts"
import { existing } from "../posting.ts"
import { type ChannelId, MessageId, messages } from "../schema.ts"
import { ImportsApi } from "./api.ts"
import type { Line } from "./lines.ts"
import { Parts, partSize } from "./queue.ts"
import { type Import, type ImportId, imports } from "./schema.ts"

export const ImportsHandlers = ImportsApi.toLayer({
  "imports.list": Effect.fnUntraced(function* () {
    const me = yield* Me.option
    if (Option.isNone(me)) return []
    const own = yield* imports.query("byAuthor").eq("author", me.value.subject)
    return yield* Effect.forEach(own, (row) => Effect.map(doneOf(row), (done) => ({ import: row, done })))
  }),

  "imports.begin": Effect.fnUntraced(function* ({ broken, channel, file, lines }) {
    const { subject } = yield* Me
    yield* existing(channel)
    const total = lines.length
    const counts = { total, broken, imported: 0, failed: 0 }
    const { id } = yield* imports.insert({ channel, author: subject, file, state: "running", parts: [], ...counts })
    const numbered = yield* withTimes(channel, lines)
    const parts = []
    for (let first = 0; first < total; first += partSize) {
      const part = numbered.slice(first, first + partSize)
      const onEnd = Queue.onEnd(ImportsApi, "imports.ended", { id, size: part.length })
      parts.push(yield* Parts.send({ import: id, lines: part }, { onEnd }))
    }
    yield* Effect.orDie(imports.patch(id, { parts, state: total === 0 ? "done" : "running" }))
    return id
  }),

  "imports.cancel": Effect.fnUntraced(function* ({ id }) {
    const row = yield* running(id)
    if (Option.isNone(row)) return
    const imported = (yield* doneOf(row.value)) - row.value.failed
    // What runs already asks before it writes more.
    const parts: Array<Queue.MessageId> = []
    for (const part of row.value.parts) if (!(yield* Scheduler.cancel(part))) parts.push(part)
    yield* Effect.orDie(imports.patch(id, { state: "cancelled", imported, parts }))
  }),

  "imports.dismiss": Effect.fnUntraced(function* ({ id }) {
    if (Option.isNone(yield* running(id))) yield* imports.delete(id)
  }),

  "imports.write": Effect.fnUntraced(function* ({ id, lines }) {
    const { claims, subject } = yield* Me
    const row = yield* running(id)
    if (Option.isNone(row)) return false
    const { channel } = row.value
    yield* existing(channel)
    const keys = lines.map(({ number }) => MessageId.make(`${id}-${String(number).padStart(6, "0")}`))
    const before = yield* messages.getMany(keys)
    const now = yield* DateTime.now
    yield* messages.insertMany(
      lines.flatMap(({ at, name: from, text: body }, i) =>
        Option.isSome(before[i]!)
          ? []
          : [{ id: keys[i]!, channel, author: subject, name: claims.name, from, body, sentAt: DateTime.min(at, now) }]
      )
    )
    return true
  }),

  "imports.ended": Effect.fnUntraced(function* ({ id, message, outcome, size }) {
    const row = Option.getOrUndefined(yield* Effect.option(imports.get(id)))
    if (row === undefined) return
    // A part that failed is of no further use.
    if (outcome === "failed") yield* Scheduler.cancel(message)
    const parts = row.parts.filter((part) => part !== message)
    const { failed, imported, state } = row
    if (state === "cancelled") return yield* Effect.orDie(Effect.asVoid(imports.patch(id, { parts })))
    const counts = outcome === "done" ? { imported: imported + size } : { failed: failed + size }
    yield* Effect.orDie(imports.patch(id, { ...counts, parts, state: parts.length === 0 ? "done" : "running" }))
  })
})

const running = (id: ImportId) =>
  Effect.map(
    Effect.option(imports.get(id)),
    Option.filter(({ state }) => state === "running")
  )

/** The lines of the parts that have ended, and what the others say of their progress. */
const doneOf = ({ failed, imported, parts, state }: Import) =>
  Effect.map(Effect.forEach(state === "running" ? parts : [], Scheduler.get), (jobs) =>
    jobs.reduce((done, job) => done + (Option.isSome(job) ? Number(job.value.progress ?? 0) : 0), imported + failed)
  )

/**
 * The lines, the newest first. Those without a time stand above what is in the channel, in the order of the file. So a page
 * that shows the newest messages does not grow as older ones are written.
 */
const withTimes = Effect.fnUntraced(function* (channel: ChannelId, lines: ReadonlyArray<Line>) {
  const oldest = yield* messages.query("byChannel").eq("channel", channel).first
  const end = Option.isSome(oldest) ? oldest.value.sentAt : yield* DateTime.now
  return lines
    .map((line, number) => ({
      ...line,
      number,
      at: line.at ?? DateTime.subtract(end, { milliseconds: lines.length - number })
    }))
    .sort((a, b) => DateTime.toEpochMillis(b.at) - DateTime.toEpochMillis(a.at) || b.number - a.number)
})
