/**
 * Files of messages: uploaded before the message is sent, and deleted with its rows: their column owns them.
 * What is not sent within a day is deleted by a job.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Scheduler } from "effect-dormouse/jobs"
import { AttachmentNotFound } from "../errors.ts"
import { Me } from "../me.ts"
import { existing } from "../posting.ts"
import type { Message } from "../schema.ts"
import { AttachmentsApi, type Shown } from "./api.ts"
import { AttachedFiles, type Attachment, type AttachmentId, attachments } from "./schema.ts"

export const AttachmentsHandlers = AttachmentsApi.toLayer({
  "attachments.list": Effect.fnUntraced(function* ({ channel, since }) {
    const all = attachments.query("byChannel").eq("channel", channel)
    const rows = yield* (since === null ? all : all.gte("sentAt", since)).descending.take(1000)
    const shown = yield* Effect.forEach(rows.toSorted(byPlace), shownOf)
    return shown.filter((each) => each !== undefined)
  }),

  "attachments.begin": Effect.fnUntraced(function* ({ channel, file }) {
    const { subject } = yield* Me
    yield* existing(channel)
    const upload = yield* AttachedFiles.begin(file)
    const { id } = yield* attachments.insert({ channel, author: subject, file: upload.file })
    // As the system: a guest may be gone by then. If the file was sent or removed before, the job changes nothing.
    yield* Scheduler.after("1 day", AttachmentsApi, "attachments.remove", { id }, { as: "system" })
    return { id, upload }
  }),

  "attachments.remove": Effect.fnUntraced(function* ({ id }) {
    const row = yield* Effect.option(attachments.get(id))
    if (Option.isNone(row) || row.value.message !== undefined) return
    yield* attachments.delete(id)
  })
})

/**
 * Attaches files to a message of the caller. Each must be ready, and of no message yet. It is the caller's own then: by their
 * policy, nobody else sees files before they are sent.
 */
export const attach = Effect.fnUntraced(function* (
  ids: ReadonlyArray<AttachmentId>,
  { channel, id: message, sentAt }: Message
) {
  for (const [place, id] of ids.entries()) {
    const fits = (row: Attachment) => row.channel === channel && row.message === undefined
    const row = Option.filter(yield* Effect.option(attachments.get(id)), fits)
    const file = Option.isNone(row) ? Option.none() : yield* AttachedFiles.get(row.value.file)
    if (!Option.exists(file, ({ state }) => state === "ready")) return yield* new AttachmentNotFound({ attachment: id })
    yield* Effect.orDie(attachments.patch(id, { message, sentAt, place }))
  }
})

const byPlace = (a: Attachment, b: Attachment): number => (a.place ?? 0) - (b.place ?? 0)

/** What the page is shown of a file; nothing of one that was not sent. */
const shownOf = Effect.fnUntraced(function* ({ file, id, message }: Attachment) {
  const info = message === undefined ? Option.none() : yield* AttachedFiles.get(file)
  if (message === undefined || Option.isNone(info)) return undefined
  const { bytes, name, type } = info.value
  const disposition = type.startsWith("image/") ? "inline" : "attachment"
  const url = yield* Effect.orDie(AttachedFiles.url(file, { expires: "1 hour", disposition }))
  return { id, message, name, type, bytes, url } satisfies Shown
})
