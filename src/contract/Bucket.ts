/**
 * Buckets: files whose bytes are stored apart from the database, and whose rows commit with those of their mutation.
 * A file is ready when all its bytes are there, with the size and the checksum that were declared (FI1).
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import type { CallError } from "../protocol/CallError.ts"
import { type Auth, identity } from "./Auth.ts"
import {
  type FileInfo,
  FileReader,
  FileRef,
  type FileRefused,
  FileWriter,
  type NewFile,
  type NoSuchFile,
  type Upload
} from "./FileServices.ts"

export { FileInfo, FileRef, FileRefused, NewFile, NoSuchFile, Upload, UploadStatus } from "./FileServices.ts"

/** What a bucket takes. */
export interface BucketOptions {
  /** Bytes of one file, 20 MB unless given. */
  readonly maxBytes?: number
  /** The content types that it takes: `image/png`, `image/*`. All unless given. */
  readonly contentTypes?: ReadonlyArray<string>
  /** Whether whoever knows the URL of a file may download it, for ever. Otherwise a URL expires. */
  readonly isPublic?: boolean
  /** How long an upload may take, also when it is interrupted: a day unless given. */
  readonly uploadTimeout?: Duration.Input
  /** Bytes of one part of a large file, 8 MiB unless given. R2 takes at least 5 MiB, and 10,000 parts. */
  readonly partBytes?: number
}

/** What the engine needs to know of a bucket. */
export interface BucketSettings {
  readonly maxBytes: number
  /** Undefined for all. */
  readonly contentTypes: ReadonlyArray<string> | undefined
  readonly isPublic: boolean
  /** Milliseconds. */
  readonly uploadTimeout: number
  readonly partBytes: number
}

/** How a URL is made. */
export interface UrlOptions {
  /**
   * How long the URL is valid at least, 10 minutes unless given. At most it is valid for twice the time: until then it stays the
   * same, so that browsers find the file in their cache. The URLs of a public bucket do not expire.
   */
  readonly expires?: Duration.Input
  /** `attachment` to have a browser save the file. `inline` unless given; what a browser could run is always saved. */
  readonly disposition?: "inline" | "attachment"
}

/** A bucket, declared once. */
export interface Bucket<out Name extends string> {
  readonly name: Name
  readonly settings: BucketSettings
  /**
   * The schema of a column that names a file of this bucket: the file belongs to its rows, and is deleted with the last of them.
   */
  readonly file: typeof FileRef
  /** Begins an upload: its row, and where the bytes are to be sent. */
  readonly begin: (file: NewFile) => Effect.Effect<Upload, FileRefused | CallError, FileWriter | Auth>
  /** What is known of a file. A live query that reads it runs again when it becomes ready, and when it is deleted. */
  readonly get: (file: FileRef) => Effect.Effect<Option.Option<FileInfo>, CallError, FileReader>
  /** The URL of a file that is ready: a path of the Worker. */
  readonly url: (file: FileRef, options?: UrlOptions) => Effect.Effect<string, NoSuchFile | CallError, FileReader>
  /**
   * Deletes a file, ready or not. Its URLs end with the commit, and its bytes are deleted afterwards. Returns whether there was
   * one.
   */
  readonly delete: (file: FileRef) => Effect.Effect<boolean, CallError, FileWriter>
}

const typePattern = /^[a-z0-9!#$&^_.+-]+\/([a-z0-9!#$&^_.+-]+|\*)$/

/** Declares a bucket. Throws for options that contradict each other. */
export const make = <const Name extends string>(name: Name, options: BucketOptions = {}): Bucket<Name> => {
  const { contentTypes, isPublic = false, maxBytes = 20_000_000, partBytes = 8 * 1024 * 1024 } = options
  const fail = (problem: string) => new Error(`bucket ${name}: ${problem}`)
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/.test(name))
    throw fail("the name must be one of a URL, of at most 63 characters")
  if (!(Number.isInteger(maxBytes) && maxBytes >= 0)) throw fail("maxBytes must be a whole number")
  if (!(Number.isInteger(partBytes) && partBytes > 0)) throw fail("partBytes must be a positive whole number")
  if (maxBytes / partBytes > maxParts) throw fail(`a file of maxBytes would have more than ${maxParts} parts`)
  for (const type of contentTypes ?? []) if (!typePattern.test(type)) throw fail(`${type} is no content type`)
  const settings: BucketSettings = {
    maxBytes,
    contentTypes,
    isPublic,
    uploadTimeout: Duration.toMillis(Duration.fromInputUnsafe(options.uploadTimeout ?? "1 day")),
    partBytes
  }
  return {
    name,
    settings,
    // An annotation changes no type of a schema.
    file: FileRef.annotate({ [bucketAnnotation]: name }) as typeof FileRef,
    begin: Effect.fnUntraced(function* (file) {
      const { subject } = yield* identity
      const { begin } = yield* FileWriter
      return yield* begin(name, file, subject)
    }),
    get: (file) => Effect.flatMap(FileReader, (files) => files.find(name, file)),
    url: (file, { disposition = "inline", expires = "10 minutes" } = {}) =>
      Effect.flatMap(FileReader, (files) =>
        files.url(name, file, { disposition, lifetime: Duration.toMillis(Duration.fromInputUnsafe(expires)) })
      ),
    delete: (file) => Effect.flatMap(FileWriter, (files) => files.remove(name, file))
  }
}

/** The annotation of columns that name files: the bucket. */
const bucketAnnotation = "~effect-dormouse/bucket"

/** The bucket whose files a field names, if it does. */
export const bucketOf = ({ ast }: Schema.Constraint): string | undefined => bucketIn(ast)

const bucketIn = (ast: SchemaAST.AST): string | undefined => {
  const annotations = [ast.annotations, ...(ast.checks ?? []).map((check) => check.annotations)]
  for (const each of annotations) {
    const bucket = each?.[bucketAnnotation]
    if (typeof bucket === "string") return bucket
  }
  if (ast._tag !== "Union") return undefined
  return ast.types.map(bucketIn).find((bucket) => bucket !== undefined)
}

/** Parts that R2 and S3 take of one object. */
const maxParts = 10_000
