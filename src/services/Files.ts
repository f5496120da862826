/**
 * Files for an app: `App.make({ files: Files.make({ buckets }), actionServices: Blobs.layerR2("FILES") })`. Rows are in the
 * tenant's database, bytes wherever `Blobs` stores them.
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { memoize } from "effect/Function"
import * as Schema from "effect/Schema"
import { Auth, anonymous } from "../contract/Auth.ts"
import type { Bucket } from "../contract/Bucket.ts"
import { FileReader, FileRef, FileWriter } from "../contract/FileServices.ts"
import type { Files } from "../contract/Files.ts"
import { OutboxWriter } from "../contract/Outbox.ts"
import * as Queue from "../contract/Queue.ts"
import type { Transactional, Tx } from "../contract/Transactional.ts"
import { Blobs } from "./Blobs.ts"
import { columnsOf, recorderOf } from "./files/FileColumns.ts"
import { serve } from "./files/FileRequests.ts"
import { FileKeeper, FilesApi, handlers, servicesOver } from "./files/FilesApi.ts"
import { blobs, fileEnds, files, fileTable, parts, secret, usage } from "./files/FileTables.ts"
import type { FileQuota } from "./files/FileUsage.ts"
import { type BlobRemoval, type FileSettings, TransactionFiles } from "./files/TransactionFiles.ts"
import * as BaseJobs from "./Jobs.ts"
import { outboxOf } from "./outbox/OutboxTransactional.ts"

export type { FileRequest, Files } from "../contract/Files.ts"

/** What `make` takes. */
export interface FilesOptions {
  readonly buckets: ReadonlyArray<Bucket<string>>
  /** Bytes of all files of a tenant, and of those whose upload one caller began. All anonymous callers are one. No limit unless given. */
  readonly quota?: FileQuota
}

/** Deletes bytes after the commit: it is tried for some days, and begun again by the rows if that was not enough. */
const removals = Queue.make("~files", {
  payload: {
    file: FileRef,
    blobs: Schema.Array(Schema.Struct({ key: Schema.String, upload: Schema.NullOr(Schema.String) })),
    forget: Schema.Literals(["nothing", "keys", "file"])
  },
  maxAttempts: 100
})

const remove = removals.toLayer(
  Effect.fnUntraced(function* ({ blobs: removed, file, forget }) {
    const store = yield* Blobs
    const { call } = yield* FileKeeper
    for (const { key, upload } of removed) if (upload !== null) yield* store.abort(key, upload)
    const keys = removed.map(({ key }) => key)
    if (keys.length > 0) yield* store.remove(keys)
    if (forget !== "nothing") yield* call("~files.forget", { file, keys, isFile: forget === "file" })
  })
)

/** Has bytes deleted after the commit of a transaction. */
const removeBlobs = (tx: Tx, removal: BlobRemoval): void => {
  const services = Context.make(OutboxWriter, outboxOf(tx)).pipe(
    Context.add(Auth, { identity: Effect.succeed(anonymous) })
  )
  Effect.runSyncWith(services)(removals.send(removal, { as: "system" }))
}

/** Makes the files of an app. Throws when two buckets have the same name. */
export const make = ({ buckets, quota = {} }: FilesOptions): Files<Blobs> => {
  const settings = new Map<string, Bucket<string>["settings"]>()
  for (const bucket of buckets) {
    if (settings.has(bucket.name)) throw new Error(`two buckets are named ${bucket.name}`)
    settings.set(bucket.name, bucket.settings)
  }
  return {
    api: FilesApi,
    handlers,
    servicesOver,
    withJobs: (jobs = BaseJobs.make()) => BaseJobs.withQueue(jobs, remove),
    serve,
    open: (tables, place) => {
      const columns = columnsOf(tables, new Set(settings.keys()))
      const owned = new Set(columns.map(({ bucket }) => bucket))
      const fileSettings: FileSettings = { buckets: settings, quota, place, owned, removeBlobs }
      const open = memoize((tx: Tx) => new TransactionFiles(tx, fileSettings))
      const reader: Transactional<FileReader, FileReader["Service"]> = {
        tag: FileReader,
        tables: [files, blobs, parts, usage, secret],
        open,
        ...(columns.length > 0 && { recorder: recorderOf(columns, open) })
      }
      const writer: Transactional<FileWriter, FileWriter["Service"]> = { tag: FileWriter, tables: [], open }
      return {
        transactional: [reader, writer],
        expiring: [{ changes: fileEnds, next: `SELECT min(ends) FROM ${fileTable}`, sweep: (tx) => open(tx).sweep() }]
      }
    }
  }
}
