import { DurableObject } from "cloudflare:workers"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Stream from "effect/Stream"
import { Database, Storage, Transactor } from "effect-dormouse/storage"
import { notes } from "./schema.ts"

/**
 * Storage in a Durable Object class of the author's own: no rpc contract, no Worker of Dormouse's, no sockets. The class decides
 * what it offers: here two methods, and a body of lines with the newest notes after each change.
 */
export class NotesObject extends DurableObject {
  private readonly runtime = ManagedRuntime.make(
    Storage.layer({ tables: [notes] }).pipe(Layer.provide(Database.layerCloudflare(this.ctx.storage)))
  )

  add(text: string): Promise<string> {
    const write = Transactor.use(({ write }) => write(notes.insert({ text })))
    return this.runtime.runPromise(Effect.map(write, (note) => note.id))
  }

  list(): Promise<ReadonlyArray<string>> {
    const read = Transactor.use(({ read }) => read(notes.query("byTime").descending.take(100)))
    return this.runtime.runPromise(Effect.map(read, (list) => list.map(({ text }) => text)))
  }

  override async fetch(): Promise<Response> {
    const lines = Stream.unwrap(
      Effect.map(Transactor, ({ live }) => live(notes.query("byTime").descending.take(3)))
    ).pipe(
      Stream.map((newest) => `${JSON.stringify(newest.map(({ text }) => text))}\n`),
      Stream.encodeText
    )
    const body = await this.runtime.runPromise(Stream.toReadableStreamEffect(lines))
    return new Response(body, { headers: { "content-type": "application/x-ndjson" } })
  }
}
