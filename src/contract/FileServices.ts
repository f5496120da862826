/**
 * What a file is, as handlers and clients see it, and the services that read and write files.
 * The methods of a bucket use the services: handlers need not.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { CallError } from "../protocol/CallError.ts"

/** Names a file. It cannot be guessed. */
export const FileRef = Schema.String.check(Schema.isPattern(/^[A-Za-z0-9_-]{22}$/)).pipe(Schema.brand("FileRef"))
/** Names a file. */
export type FileRef = typeof FileRef.Type

/** What is said of a file before its bytes are there. */
export const NewFile = Schema.Struct({
  /** As a person would name it, without a path: at most 255 bytes of UTF-8. */
  name: Schema.String,
  /** The content type. It is what a download says, and is not looked for in the bytes. */
  type: Schema.String,
  bytes: Schema.Int,
  /**
   * The checksum of the file, from `Uploads.checksumOf`, if it is known before: the upload fails unless the bytes have it. Of a
   * file of one part it is its SHA-256 in hexadecimal, of another one the SHA-256 of those of its parts.
   */
  checksum: Schema.optionalKey(Schema.String)
})
/** What is said of a file before its bytes are there. */
export type NewFile = typeof NewFile.Type

/** Where the bytes of a new file are sent to. */
export const Upload = Schema.Struct({
  file: FileRef,
  /** A path of the Worker. Whoever has it may upload the file, and nothing else. */
  url: Schema.String,
  bytes: Schema.Int,
  /** Bytes of each part but the last, which has the rest. A file with no more is sent at once. */
  partBytes: Schema.Int,
  /** Until then the upload must be complete. Milliseconds since the epoch. */
  expires: Schema.Int
})
/** Where the bytes of a new file are sent to. */
export type Upload = typeof Upload.Type

/** How far an upload is. */
export const UploadStatus = Schema.Struct({
  state: Schema.Literals(["pending", "ready"]),
  /** The numbers of the parts that are stored, from 1. */
  parts: Schema.Array(Schema.Int),
  /** Whether parts can be sent to the store itself. */
  isDirect: Schema.optionalKey(Schema.Boolean)
})
/** How far an upload is. */
export type UploadStatus = typeof UploadStatus.Type

/** A `PUT` to what stores the bytes, which is authorized by its URL. */
export const PresignedPut = Schema.Struct({
  url: Schema.String,
  headers: Schema.Record(Schema.String, Schema.String)
})
/** A `PUT` to what stores the bytes, which is authorized by its URL. */
export type PresignedPut = typeof PresignedPut.Type

/** A file, as its row says. */
export class FileInfo extends Schema.Class<FileInfo>("effect-dormouse/FileInfo")({
  file: FileRef,
  bucket: Schema.String,
  name: Schema.String,
  type: Schema.String,
  bytes: Schema.Int,
  /** Of a file that is ready, the checksum of its bytes. */
  checksum: Schema.NullOr(Schema.String),
  /** The subject of who began the upload. */
  owner: Schema.NullOr(Schema.String),
  /** `ready` when all bytes are there, and have the size and the checksum that were declared. */
  state: Schema.Literals(["pending", "ready"]),
  createdAt: Schema.DateTimeUtcFromMillis
}) {}

/**
 * A file is not taken. `name`: it is empty, too long, or has a path or a control character. `type`: it is none, or the bucket does
 * not take it. `bytes`: it is no size, or too large. `checksum`: it is no SHA-256. `quota`: the tenant or the caller has too much.
 */
export class FileRefused extends Schema.TaggedError<FileRefused>("effect-dormouse/FileRefused")("FileRefused", {
  reason: Schema.Literals(["name", "type", "bytes", "checksum", "quota"]),
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.reason}: ${this.detail}`
  }
}

/** The bucket has no such file, or its bytes are not there yet. */
export class NoSuchFile extends Schema.TaggedError<NoSuchFile>("effect-dormouse/NoSuchFile")("NoSuchFile", {
  file: Schema.String
}) {
  override get message(): string {
    return `there is no file ${this.file}`
  }
}

/** How a URL is made. */
export const UrlSettings = Schema.Struct({
  /** Milliseconds for which the URL is valid at least. At most it is valid for twice the time: until then it stays the same. */
  lifetime: Schema.Number,
  disposition: Schema.Literals(["inline", "attachment"])
})
/** How a URL is made. */
export type UrlSettings = typeof UrlSettings.Type

/** Reads files: queries, mutations and actions have it. */
export class FileReader extends Context.Service<
  FileReader,
  {
    readonly find: (bucket: string, file: FileRef) => Effect.Effect<Option.Option<FileInfo>, CallError>
    readonly url: (
      bucket: string,
      file: FileRef,
      settings: UrlSettings
    ) => Effect.Effect<string, NoSuchFile | CallError>
  }
>()("effect-dormouse/FileReader") {}

/** Writes files. In a mutation it belongs to the transaction; in an action it acts at once. */
export class FileWriter extends Context.Service<
  FileWriter,
  {
    /** `owner` is the subject of the caller. */
    readonly begin: (
      bucket: string,
      file: NewFile,
      owner: string | null
    ) => Effect.Effect<Upload, FileRefused | CallError>
    /** Returns whether there was such a file. */
    readonly remove: (bucket: string, file: FileRef) => Effect.Effect<boolean, CallError>
  }
>()("effect-dormouse/FileWriter") {}
