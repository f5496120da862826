/**
 * A result of a live query, with everything that is derived from it once for all its subscribers: hash, snapshot, patches.
 * What its subscribers are sent is the smaller of patch and snapshot.
 */
import * as Base64Url from "effect/encoding/Base64Url"
import type * as Schema from "effect/Schema"
import { chunkMessage } from "../../protocol/Exit.ts"
import * as FrameParts from "../../protocol/FrameParts.ts"
import * as Patch from "../../protocol/Patch.ts"
import type { EncodedResult } from "../rpc/ResultCodec.ts"

/** One result of one query. */
export class QueryResult {
  /** The commit after which the query gave this result. */
  readonly version: number
  private readonly encoded: EncodedResult
  private hashText: string | undefined
  private snapshot: Frame | undefined
  private lastMessages:
    | { readonly frame: string; readonly idText: string; readonly texts: ReadonlyArray<string> }
    | undefined
  private readonly patches = new WeakMap<QueryResult, Frame>()

  constructor(encoded: EncodedResult, version: number) {
    this.encoded = encoded
    this.version = version
  }

  /** The JSON of the value. */
  get text(): string {
    return this.encoded.text
  }

  /** Stands for the value: results with equal hashes are equal. */
  get hash(): string {
    this.hashText ??= hashOf(this.encoded)
    return this.hashText
  }

  /** The value. */
  json(): Schema.Json {
    return this.encoded.json()
  }

  /**
   * The messages with the frame for a subscriber that has `base`, or nothing yet, at the version up to which the result
   * holds. Many sockets use the same id for the same query: their messages are one text.
   */
  messagesFrom(base: QueryResult | undefined, idText: string, version: number): ReadonlyArray<string> {
    const frame = this.frameFrom(base, version)
    if (this.lastMessages?.frame !== frame || this.lastMessages.idText !== idText) {
      this.lastMessages = { frame, idText, texts: messagesOf(frame, idText) }
    }
    return this.lastMessages.texts
  }

  /** The frame for a subscriber that has `base`, or nothing yet, at the version up to which the result holds. */
  frameFrom(base: QueryResult | undefined, version: number): string {
    return this.prepareFrom(base).at(version, this.hash)
  }

  /** Makes the frame for a subscriber that has `base`, or nothing yet. Only its version is added when it is sent. */
  prepareFrom(base: QueryResult | undefined): Frame {
    return base === undefined || base === this ? this.snapshotFrame() : this.patchFrame(base)
  }

  private patchFrame(base: QueryResult): Frame {
    let frame = this.patches.get(base)
    if (frame === undefined) {
      const ops = JSON.stringify(Patch.make(base.encoded.json(), this.encoded.json()))
      frame = ops.length < this.text.length ? new Frame(`{"_tag":"Patch","ops":${ops}`) : this.snapshotFrame()
      this.patches.set(base, frame)
    }
    return frame
  }

  private snapshotFrame(): Frame {
    this.snapshot ??= new Frame(`{"_tag":"Snapshot","value":${this.text}`)
    return this.snapshot
  }
}

/** A frame without its version. The text at the last version is kept: all subscribers of one flush are sent it. */
class Frame {
  private readonly start: string
  private version: number | undefined
  private text = ""

  constructor(start: string) {
    this.start = start
  }

  at(version: number, hash: string): string {
    if (this.version !== version) {
      this.version = version
      this.text = `${this.start},"version":${version},"hash":"${hash}"}`
    }
    return this.text
  }
}

/** The messages that carry a frame: one, or several when it is too large for one. */
export const messagesOf = (frame: string, idText: string): ReadonlyArray<string> =>
  FrameParts.split(frame).map((part) => chunkMessage(idText, part))

/** 128 bits of SHA-256. A collision would leave a subscriber with an old value, so it must not happen. */
export const hashOf = (encoded: EncodedResult): string => Base64Url.encode(encoded.digest().subarray(0, 16))
