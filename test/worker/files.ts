import type { Layer } from "effect"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Action, Api, App, Mutation, Query, Table } from "effect-dormouse"
import { Auth as AuthLayers } from "effect-dormouse/auth"
import { type Blobs, Bucket, Files } from "effect-dormouse/files"

/** An app with files: two buckets, rows that name files, and quotas. */

export const mebibyte = 1024 * 1024

/** Files have URLs that expire, and large ones have parts. */
export const Attachments = Bucket.make("attachments", {
  maxBytes: 20 * mebibyte,
  contentTypes: ["image/*", "application/pdf", "text/plain", "text/html"],
  partBytes: 5 * mebibyte
})
/** Everybody sees them. */
export const Avatars = Bucket.make("avatars", { maxBytes: 1000, isPublic: true, uploadTimeout: "1 minute" })

/** Bytes of a part of the small bucket, which R2 would not take. */
export const small = 10
/** Files of a few bytes have parts. */
export const Small = Bucket.make("small", { maxBytes: 100, partBytes: small, uploadTimeout: "1 minute" })

class Note extends Model.Class<Note>("test/files/Note")({
  id: Table.key(Schema.String),
  file: Schema.NullOr(Attachments.file),
  folder: Schema.optionalKey(Schema.String)
}) {}
class Folder extends Model.Class<Folder>("test/files/Folder")({ id: Schema.String }) {}
const folders = Table.make("folders", Folder, { key: "id" })
const notes = Table.make("notes", Note, {
  key: "id",
  references: { folder: { table: () => folders, onDelete: "cascade" } }
})

class Refused extends Schema.TaggedError<Refused>("test/files/Refused")("Refused", {}) {}

const Given = { bucket: Schema.Literals(["attachments", "avatars", "small"]), file: Bucket.FileRef }

export class FilesTestApi extends Api.make(
  Mutation.make("begin", {
    payload: { bucket: Given.bucket, new: Bucket.NewFile },
    success: Bucket.Upload,
    error: Bucket.FileRefused
  }),
  /** Begins an upload, and fails or dies. */
  Mutation.make("rolledBack", {
    payload: { new: Bucket.NewFile, how: Schema.Literals(["fail", "die"]) },
    error: Refused
  }),
  Query.make("get", { payload: Given, success: Schema.NullOr(Bucket.FileInfo) }),
  Query.make("url", {
    payload: {
      ...Given,
      expires: Schema.optionalKey(Schema.Number),
      disposition: Schema.optionalKey(Schema.Literals(["inline", "attachment"]))
    },
    success: Schema.String,
    error: Bucket.NoSuchFile
  }),
  /** Writes notes that name a file, in a folder. */
  Mutation.make("attach", {
    payload: { file: Bucket.FileRef, count: Schema.Int, folder: Schema.String },
    success: Schema.Array(Schema.String)
  }),
  Mutation.make("detach", {
    payload: { id: Schema.String, how: Schema.Literals(["delete", "null", "fail"]) },
    error: Refused
  }),
  Mutation.make("replace", { payload: { id: Schema.String, file: Bucket.FileRef } }),
  Mutation.make("removeFolder", { payload: { id: Schema.String } }),
  Mutation.make("remove", { payload: Given, success: Schema.Boolean }),
  /** Deletes a file, and fails. */
  Mutation.make("kept", { payload: Given, error: Refused }),
  Action.make("act", {
    payload: { new: Bucket.NewFile },
    success: Schema.Struct({ upload: Bucket.Upload, state: Schema.String, isRemoved: Schema.Boolean }),
    error: Bucket.FileRefused
  })
) {}

const all = { attachments: Attachments, avatars: Avatars, small: Small }
const bucketOf = (name: keyof typeof all) => all[name]

export const FilesTestHandlers = FilesTestApi.toLayer({
  begin: ({ bucket, new: file }) => bucketOf(bucket).begin(file),
  rolledBack: Effect.fnUntraced(function* ({ how, new: file }) {
    yield* Effect.orDie(Attachments.begin(file))
    if (how === "die") return yield* Effect.die(new Error("rolled back"))
    return yield* new Refused()
  }),
  get: ({ bucket, file }) => Effect.map(bucketOf(bucket).get(file), Option.getOrNull),
  url: ({ bucket, disposition, expires, file }) =>
    bucketOf(bucket).url(file, { ...(disposition && { disposition }), ...(expires !== undefined && { expires }) }),
  attach: Effect.fnUntraced(function* ({ count, file, folder }) {
    yield* folders.upsert({ id: folder })
    const made = yield* Effect.forEach(Array.from({ length: count }), () => notes.insert({ file, folder }))
    return made.map(({ id }) => id)
  }),
  detach: Effect.fnUntraced(function* ({ how, id }) {
    if (how === "null") yield* Effect.orDie(notes.patch(id, { file: null }))
    else yield* notes.delete(id)
    if (how === "fail") return yield* new Refused()
  }),
  replace: ({ file, id }) => Effect.asVoid(Effect.orDie(notes.patch(id, { file }))),
  removeFolder: ({ id }) => Effect.asVoid(folders.delete(id)),
  remove: ({ bucket, file }) => bucketOf(bucket).delete(file),
  kept: ({ bucket, file }) => Effect.andThen(bucketOf(bucket).delete(file), Effect.fail(new Refused())),
  act: Effect.fnUntraced(function* ({ new: file }) {
    const upload = yield* Attachments.begin(file)
    const found = yield* Attachments.get(upload.file)
    const isRemoved = yield* Attachments.delete(upload.file)
    return { upload, state: Option.match(found, { onNone: () => "none", onSome: ({ state }) => state }), isRemoved }
  })
})

/** The app, over what stores its bytes. */
export const makeApp = (blobs: Layer.Layer<Blobs.Blobs>) =>
  App.make({
    api: FilesTestApi,
    tables: [notes, folders],
    handlers: FilesTestHandlers,
    files: Files.make({
      buckets: [Attachments, Avatars, Small],
      quota: { tenant: 60 * mebibyte, identity: 40 * mebibyte }
    }),
    actionServices: blobs
  })

/** Callers are named by test tokens. */
export const options = {
  auth: AuthLayers.layerFirst(AuthLayers.layerTest, AuthLayers.layerAnonymous),
  enter: () => true
}

/** Whether a tenant, or an object, belongs to this app. */
export const isFiles = (name: string | null | undefined): boolean => name?.startsWith("files-") === true

/** The tenant in the path of a request for a file. */
export const tenantIn = (url: string): string | undefined => /^\/files\/([^/]+)\//.exec(new URL(url).pathname)?.[1]
