/**
 * Read marks move forward only: a tab that is behind another one changes nothing, and writes nothing.
 * A message that the caller may not see is as one that was deleted.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Me } from "../me.ts"
import { nameOf } from "../people.ts"
import { messages } from "../schema.ts"
import { ReadingApi } from "./api.ts"
import { markOf, readMarks } from "./schema.ts"

export const ReadingHandlers = ReadingApi.toLayer({
  "reading.list": Effect.fnUntraced(function* ({ channel }) {
    const marks = yield* readMarks.query("byTime").eq("channel", channel).descending.take(50)
    return yield* Effect.forEach(marks, ({ person, upTo }) =>
      Effect.map(nameOf(person), (name) => ({ id: person, name, upTo }))
    )
  }),

  "reading.mark": Effect.fnUntraced(function* ({ message: id }) {
    const { subject } = yield* Me
    const message = yield* Effect.option(messages.get(id))
    if (Option.isNone(message)) return
    const { channel, sentAt } = message.value
    const mark = yield* markOf(channel, subject)
    if (Option.isNone(mark)) yield* readMarks.insert({ channel, person: subject, upTo: sentAt })
    else if (DateTime.isLessThan(mark.value.upTo, sentAt))
      yield* Effect.orDie(readMarks.patch(mark.value.id, { upTo: sentAt }))
  })
})
