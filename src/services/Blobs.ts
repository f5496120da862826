/**
 * The port to what stores the bytes of files. Bodies are streams: nothing here holds a file in memory.
 * Whoever uses it has a row that names each key before anything is stored under it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { PresignedPut } from "../contract/FileServices.ts"

export type { PresignedPut } from "../contract/FileServices.ts"

/** The bytes of a file, or of a part of one. */
export type Body = ReadableStream<Uint8Array<ArrayBuffer>>

/** What was stored. */
export interface Stored {
  /** Names the state of what was stored. */
  readonly etag: string
  readonly bytes: number
  /** The SHA-256 of the bytes, in hexadecimal. */
  readonly checksum: string
}

/** A part that was stored. */
export interface StoredPart {
  /** From 1. */
  readonly part: number
  readonly etag: string
}

/** A part that is to be stored by whoever has its bytes. */
export interface PresignedPart {
  readonly part: number
  readonly bytes: number
  /** The SHA-256 that the bytes must have, in hexadecimal. */
  readonly checksum: string
  /** Milliseconds since the epoch. */
  readonly expires: number
}

/** The first byte, and how many. */
export interface ByteRange {
  readonly offset: number
  readonly length: number
}

/** What stores bytes has failed, or could not be reached. */
export class BlobError extends Schema.TaggedError<BlobError>("effect-dormouse/BlobError")("BlobError", {
  operation: Schema.String,
  cause: Schema.Defect()
}) {
  override get message(): string {
    return `the bytes of a file could not be stored or read: ${this.operation} failed`
  }
}

/** A body ended too early, or went on too long. Nothing was stored. */
export class WrongSize extends Schema.TaggedError<WrongSize>("effect-dormouse/WrongSize")("WrongSize", {
  expected: Schema.Int
}) {}

/** A part was stored again after its etag was recorded: the upload cannot be completed with that one. */
export class PartsChanged extends Schema.TaggedError<PartsChanged>("effect-dormouse/PartsChanged")(
  "PartsChanged",
  {}
) {}

/** Runs an operation of a layer: what it throws becomes a `BlobError`. */
export const attempt = <A>(operation: string, body: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, BlobError> =>
  Effect.tryPromise({ try: body, catch: (cause) => new BlobError({ operation, cause }) })

/** The same for a layer that stores a body, and throws `WrongSize` for one that ends elsewhere. */
export const attemptToStore = (
  body: (signal: AbortSignal) => Promise<Stored>
): Effect.Effect<Stored, BlobError | WrongSize> =>
  Effect.tryPromise({
    try: body,
    catch: (cause) => (cause instanceof WrongSize ? cause : new BlobError({ operation: "put", cause }))
  })

/** Stores bytes under keys. */
export class Blobs extends Context.Service<
  Blobs,
  {
    /** Stores so many bytes under a key, whatever was there. */
    readonly put: (key: string, body: Body, bytes: number) => Effect.Effect<Stored, BlobError | WrongSize>
    /**
     * Begins to store a blob in parts. Nothing is under its key before it is complete. Returns the name of the upload. What was
     * begun and has no parts takes no room; R2 deletes it after 7 days.
     */
    readonly begin: (key: string) => Effect.Effect<string, BlobError>
    /** Stores a part, whatever was stored as this part. All but the last have the same size. */
    readonly putPart: (
      key: string,
      upload: string,
      part: number,
      body: Body,
      bytes: number
    ) => Effect.Effect<Stored, BlobError | WrongSize>
    /**
     * Makes the parts one blob. Fails with the second attempt if the first one was successful, and with `PartsChanged` if the store
     * has another part than that of an etag.
     */
    readonly complete: (
      key: string,
      upload: string,
      parts: ReadonlyArray<StoredPart>
    ) => Effect.Effect<void, BlobError | PartsChanged>
    /** Deletes the parts of an upload that is not complete, if there is one. */
    readonly abort: (key: string, upload: string) => Effect.Effect<void, BlobError>
    /** The bytes of a blob, if there is one. */
    readonly get: (key: string, range: ByteRange) => Effect.Effect<Body | undefined, BlobError>
    /** The size of a blob, if there is one. */
    readonly size: (key: string) => Effect.Effect<number | undefined, BlobError>
    /** Deletes blobs, of those that are there. */
    readonly remove: (keys: ReadonlyArray<string>) => Effect.Effect<void, BlobError>
    /** Some of the keys that begin so, in any order; none when there are no more. */
    readonly list: (prefix: string) => Effect.Effect<ReadonlyArray<string>, BlobError>
    /**
     * A request by which a client stores a part itself. The store refuses it with other bytes than those of the checksum, and its
     * answer has the `etag` of the part. Without this, clients send all bytes through the server.
     */
    readonly presign?: (key: string, upload: string, part: PresignedPart) => Effect.Effect<PresignedPut, BlobError>
  }
>()("effect-dormouse/Blobs") {}
