/**
 * The rpcs by which the Worker reads and writes the rows of files: for actions, and for the requests of uploads and downloads.
 * No client can call them: their tags are reserved.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Api from "../../contract/Api.ts"
import type { Calls } from "../../contract/CallsTag.ts"
import {
  FileInfo,
  FileReader,
  FileRef,
  FileRefused,
  FileWriter,
  NewFile,
  NoSuchFile,
  Upload,
  UploadStatus,
  UrlSettings
} from "../../contract/FileServices.ts"
import * as Mutation from "../../contract/Mutation.ts"
import * as Query from "../../contract/Query.ts"
import { type Refusal, TransactionFiles } from "./TransactionFiles.ts"

/** A request for a file is refused. */
export class RequestRefused extends Schema.TaggedError<RequestRefused>("effect-dormouse/files/RequestRefused")(
  "RequestRefused",
  { status: Schema.Int, detail: Schema.String }
) {}

const Disposition = Schema.Literals(["inline", "attachment"])
const UploadUrl = Schema.Struct({ file: FileRef, expires: Schema.Int, signature: Schema.String })
const BlobKey = { key: Schema.String, upload: Schema.NullOr(Schema.String) }
const StoredPart = { part: Schema.Int, etag: Schema.String }

const Located = Schema.Struct({
  key: Schema.String,
  name: Schema.String,
  type: Schema.String,
  bytes: Schema.Int,
  checksum: Schema.String,
  isPublic: Schema.Boolean,
  disposition: Disposition,
  expires: Schema.NullOr(Schema.Int)
})

const Progress = Schema.Struct({
  status: UploadStatus,
  complete: Schema.NullOr(
    Schema.Struct({ ...BlobKey, parts: Schema.Array(Schema.Struct(StoredPart)), bytes: Schema.Int })
  ),
  isWrong: Schema.Boolean
})

/** What the Worker does with files. */
export class FilesApi extends Api.make(
  Query.make("~files.find", { payload: { bucket: Schema.String, file: FileRef }, success: Schema.NullOr(FileInfo) }),
  Query.make("~files.url", {
    payload: { bucket: Schema.String, file: FileRef, settings: UrlSettings },
    success: Schema.String,
    error: NoSuchFile
  }),
  Mutation.make("~files.begin", {
    payload: { bucket: Schema.String, file: NewFile, owner: Schema.NullOr(Schema.String) },
    success: Upload,
    error: FileRefused
  }),
  Mutation.make("~files.remove", { payload: { bucket: Schema.String, file: FileRef }, success: Schema.Boolean }),
  Query.make("~files.locate", {
    payload: {
      file: FileRef,
      signed: Schema.optionalKey(Schema.Struct({ use: Disposition, expires: Schema.Int, signature: Schema.String })),
      disposition: Disposition
    },
    success: Located,
    error: RequestRefused
  }),
  Query.make("~files.status", { payload: { url: UploadUrl }, success: UploadStatus, error: RequestRefused }),
  Mutation.make("~files.admit", {
    payload: { url: UploadUrl, part: Schema.Int, length: Schema.NullOr(Schema.Int), isDirect: Schema.Boolean },
    success: Schema.Struct({ ...BlobKey, bytes: Schema.Int, isWhole: Schema.Boolean }),
    error: RequestRefused
  }),
  Mutation.make("~files.presign", {
    payload: { url: UploadUrl, part: Schema.Int, checksum: Schema.String },
    success: Schema.Struct({ ...BlobKey, bytes: Schema.Int, expires: Schema.Int }),
    error: RequestRefused
  }),
  Mutation.make("~files.sent", {
    payload: { url: UploadUrl, part: Schema.Int, etag: Schema.String },
    success: Progress,
    error: RequestRefused
  }),
  Mutation.make("~files.started", {
    payload: { key: Schema.String, upload: Schema.String },
    success: Schema.String,
    error: RequestRefused
  }),
  Mutation.make("~files.stored", {
    payload: {
      file: FileRef,
      key: Schema.String,
      stored: Schema.Struct({ ...StoredPart, checksum: Schema.String })
    },
    success: Progress,
    error: RequestRefused
  }),
  Mutation.make("~files.progress", { payload: { url: UploadUrl }, success: Progress, error: RequestRefused }),
  Mutation.make("~files.completed", {
    payload: { file: FileRef, key: Schema.String },
    success: UploadStatus,
    error: RequestRefused
  }),
  Mutation.make("~files.restart", {
    payload: { file: FileRef, key: Schema.String },
    success: UploadStatus,
    error: RequestRefused
  }),
  Mutation.make("~files.cancel", { payload: { url: UploadUrl }, error: RequestRefused }),
  Mutation.make("~files.forget", {
    payload: { file: FileRef, keys: Schema.Array(Schema.String), isFile: Schema.Boolean }
  })
) {}

const refuse = <A>(effect: Effect.Effect<A, Refusal>) =>
  Effect.mapError(effect, (refusal) => RequestRefused.make(refusal))

/** The files of the transaction, for reading. */
const reading = <A, E, R>(body: (files: TransactionFiles) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(FileReader, (found) => body(transacted(found)))
/** The files of the transaction, for writing. */
const writing = <A, E, R>(body: (files: TransactionFiles) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(FileWriter, (found) => body(transacted(found)))

const transacted = (found: unknown): TransactionFiles => {
  if (found instanceof TransactionFiles) return found
  throw new Error("the files were used outside of a transaction")
}

/** The handlers, for the object. */
export const handlers: Layer.Layer<never, never, any> = FilesApi.toLayer({
  "~files.find": ({ bucket, file }) => reading((files) => Effect.map(files.find(bucket, file), Option.getOrNull)),
  "~files.url": ({ bucket, file, settings }) => reading((files) => files.url(bucket, file, settings)),
  "~files.begin": ({ bucket, file, owner }) => writing((files) => files.begin(bucket, file, owner)),
  "~files.remove": ({ bucket, file }) => writing((files) => files.remove(bucket, file)),
  "~files.locate": ({ disposition, file, signed }) =>
    reading((files) => refuse(files.locate(file, signed, disposition))),
  "~files.status": ({ url }) => reading((files) => refuse(files.status(url))),
  "~files.admit": ({ isDirect, length, part, url }) =>
    writing((files) => refuse(files.admit(url, part, length, isDirect))),
  "~files.presign": ({ checksum, part, url }) => writing((files) => refuse(files.presign(url, part, checksum))),
  "~files.sent": ({ etag, part, url }) => writing((files) => refuse(files.sent(url, part, etag))),
  "~files.started": ({ key, upload }) => writing((files) => refuse(files.started(key, upload))),
  "~files.stored": ({ file, key, stored }) => writing((files) => refuse(files.stored(file, key, stored))),
  "~files.progress": ({ url }) => writing((files) => refuse(files.progress(url))),
  "~files.completed": ({ file, key }) => writing((files) => refuse(files.completed(file, key))),
  "~files.restart": ({ file, key }) => writing((files) => refuse(files.restart(file, key))),
  "~files.cancel": ({ url }) => writing((files) => refuse(files.cancel(url))),
  "~files.forget": ({ file, isFile, keys }) => writing((files) => files.forget(file, keys, isFile))
})

/** What the queue that deletes bytes tells the object. */
export class FileKeeper extends Context.Service<FileKeeper, Pick<Calls["Service"], "call">>()(
  "effect-dormouse/files/FileKeeper"
) {}

/** The files of an action: each operation is a transaction of its own in the object. */
export const servicesOver = ({ call }: Calls["Service"]): Context.Context<FileReader | FileWriter | FileKeeper> =>
  Context.make(FileReader, {
    find: (bucket, file) => Effect.map(call("~files.find", { bucket, file }), Option.fromNullOr),
    url: (bucket, file, settings) => call("~files.url", { bucket, file, settings })
  }).pipe(
    Context.add(FileWriter, {
      begin: (bucket, file, owner) => call("~files.begin", { bucket, file, owner }),
      remove: (bucket, file) => call("~files.remove", { bucket, file })
    }),
    Context.add(FileKeeper, { call })
  )
