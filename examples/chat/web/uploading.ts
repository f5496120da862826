import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Bucket } from "effect-dormouse/files"
import { Uploads } from "effect-dormouse/files/client"
import { useCallback, useEffect, useMemo, useRef, useState } from "react"
import { AttachedFiles, type AttachmentId, maxFiles } from "../attachments/schema.ts"
import type { ChannelId } from "../schema.ts"
import { useClient } from "./client.ts"

/** A file that the user has chosen for the next message. */
export interface Chosen {
  readonly id: string
  readonly file: File
  /** The object URL of an image. */
  readonly preview: string | undefined
  readonly state: "uploading" | "ready" | "failed"
  /** Bytes that were sent. */
  readonly sent: number
  /** What names it in `messages.send`, once it is ready. */
  readonly attachment?: AttachmentId
  /** Why it failed. */
  readonly problem?: string
}

/** The files that were chosen, and what the user does with them. */
export interface Uploading {
  readonly files: ReadonlyArray<Chosen>
  /** Begins to upload files. */
  readonly add: (files: ReadonlyArray<File>) => void
  /** Uploads one again that failed. */
  readonly again: (id: string) => void
  /** Cancels an upload, or deletes what was uploaded. */
  readonly remove: (id: string) => void
  /** Forgets the files that are ready: they were sent. */
  readonly sent: () => void
}

type Client = Parameters<Parameters<typeof useClient>[0]>[0]

/** What is done in the background for a chosen file. A second command for one file interrupts the first. */
type Command = { readonly id: string; readonly run: (client: Client) => Effect.Effect<void> }

/** Uploads files into a channel as soon as they are chosen. */
export const useUploads = (channel: ChannelId): Uploading => {
  const [files, setFiles] = useState<ReadonlyArray<Chosen>>([])
  const commands = useMemo(() => Effect.runSync(Queue.unbounded<Command>()), [])
  const latest = useRef(files)
  latest.current = files

  useClient(
    (client) =>
      Effect.gen(function* () {
        const running = yield* FiberMap.make<string>()
        yield* Queue.take(commands).pipe(
          Effect.flatMap(({ id, run }) => FiberMap.run(running, id, run(client))),
          Effect.forever
        )
      }).pipe(Effect.scoped),
    []
  )
  useEffect(
    () => () => {
      for (const file of latest.current) release(file)
    },
    []
  )

  const change = useCallback(
    (id: string, changes: Partial<Chosen>) =>
      setFiles((files) => files.map((file) => (file.id === id ? { ...file, ...changes } : file))),
    []
  )
  const begin = useCallback(
    (id: string, file: File) =>
      Queue.offerUnsafe(commands, { id, run: (client) => upload(client, channel, file, (made) => change(id, made)) }),
    [channel, change, commands]
  )
  const add = useCallback(
    (added: ReadonlyArray<File>) => {
      const room = roomIn(latest.current)
      const chosen = added.map((file, i): Chosen => {
        const preview = file.type.startsWith("image/") ? URL.createObjectURL(file) : undefined
        const made = { id: crypto.randomUUID(), file, preview, sent: 0 }
        if (i < room) return { ...made, state: "uploading" }
        return { ...made, state: "failed", problem: `A message has at most ${maxFiles} files.` }
      })
      setFiles((files) => [...files, ...chosen])
      for (const { file, id, state } of chosen) if (state === "uploading") begin(id, file)
    },
    [begin]
  )
  const again = useCallback(
    (id: string) => {
      const found = latest.current.find((file) => file.id === id)
      if (found === undefined || roomIn(latest.current) < 1) return
      change(id, { state: "uploading", sent: 0 })
      begin(id, found.file)
    },
    [begin, change]
  )
  const remove = useCallback(
    (id: string) => {
      const found = latest.current.find((file) => file.id === id)
      if (found === undefined) return
      release(found)
      setFiles((files) => files.filter((file) => file.id !== id))
      const { attachment } = found
      const run = (client: Client) => (attachment === undefined ? Effect.void : discard(client, attachment))
      Queue.offerUnsafe(commands, { id, run })
    },
    [commands]
  )
  const sent = useCallback(() => {
    for (const file of latest.current) if (file.state === "ready") release(file)
    setFiles((files) => files.filter(({ state }) => state !== "ready"))
  }, [])
  return { files, add, again, remove, sent }
}

/** How many more files the message can have. */
const roomIn = (files: ReadonlyArray<Chosen>): number =>
  maxFiles - files.filter(({ state }) => state !== "failed").length

const release = ({ preview }: Chosen): void => {
  if (preview !== undefined) URL.revokeObjectURL(preview)
}

/** Deletes a file that is not sent. If that fails, the server does it a day later. */
const discard = (client: Client, id: AttachmentId) => Effect.ignore(client.mutate("attachments.remove", { id }))

/** Uploads a file, and tells how far it is. When it is interrupted, nothing is left of the file. */
const send = (client: Client, channel: ChannelId, file: File, type: string, tell: (changes: Partial<Chosen>) => void) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const { name, size: bytes } = file
      const { id, upload } = yield* client.mutate("attachments.begin", { channel, file: { name, type, bytes } })
      const sending = Stream.runForEach(Uploads.send(upload, file), ({ sent }) => Effect.sync(() => tell({ sent })))
      yield* restore(sending).pipe(Effect.onError(() => discard(client, id)))
      tell({ state: "ready", attachment: id })
    })
  )

const upload = (client: Client, channel: ChannelId, file: File, tell: (changes: Partial<Chosen>) => void) => {
  // Browsers do not know every type.
  const type = file.type === "" ? "application/octet-stream" : file.type
  const fail = (problem: string) => Effect.sync(() => tell({ state: "failed", problem }))
  return send(client, channel, file, type, tell).pipe(
    Effect.catch((error) => fail(sentenceOf(error, type))),
    Effect.catchDefect(() => fail("Something went wrong on the server."))
  )
}

const sentenceOf = (error: Effect.Error<ReturnType<typeof send>>, type: string): string => {
  switch (error._tag) {
    case "FileRefused":
      return refusalOf(error.reason, type)
    case "ChannelNotFound":
      return "This channel does not exist any more."
    case "ConnectionRefused":
      return "You cannot write here."
    case "UploadError":
      return error.status === 0 ? "The file cannot be read." : "The upload was refused."
    default:
      return "The server could not be reached."
  }
}

const refusalOf = (reason: Bucket.FileRefused["reason"], type: string): string => {
  switch (reason) {
    case "type":
      return `Files of the type ${type} cannot be sent.`
    case "bytes":
      return `A file has at most ${sizeOf(AttachedFiles.settings.maxBytes)}.`
    case "name":
      return "Files with this name cannot be sent."
    default:
      return "There is no space left for your files. Delete messages with files first."
  }
}

/** A size as people read it. */
export const sizeOf = (bytes: number): string => {
  if (bytes < 1000) return `${bytes} bytes`
  const [size, unit] = bytes < 1_000_000 ? [bytes / 1000, "KB"] : [bytes / 1_000_000, "MB"]
  return `${size.toLocaleString(undefined, { maximumFractionDigits: 1 })} ${unit}`
}
