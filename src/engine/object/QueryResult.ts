/**
 * A result of a live query, with everything that is derived from it once for all its subscribers: hash, snapshot, patches.
 * What its subscribers are sent is the smaller of patch and snapshot.
 */
import * as Base64Url from "effect/encoding/Base64Url"
import type * as Schema from "effect/Schema"
import * as Checksum from "../../protocol/Checksum.ts"
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
  private knownSum: number | undefined
  private snapshot: FrameStart | undefined
  private lastMessages:
    | { readonly frame: Frame; readonly idText: string; readonly texts: ReadonlyArray<string> }
    | undefined
  private readonly patches = new WeakMap<QueryResult, FrameStart>()

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
      this.lastMessages = { frame, idText, texts: frame.messages(idText) }
    }
    return this.lastMessages.texts
  }

  /** The frame for a subscriber that has `base`, or nothing yet, at the version up to which the result holds. */
  frameFrom(base: QueryResult | undefined, version: number): Frame {
    return this.prepareFrom(base).at(version, this.hash, this.sum)
  }

  /** Makes the frame for a subscriber that has `base`, or nothing yet. Only its version is added when it is sent. */
  prepareFrom(base: QueryResult | undefined): FrameStart {
    return base === undefined || base === this ? this.snapshotStart() : this.patchStart(base)
  }

  /** The frame for a subscriber that came with this result: it holds up to the version. */
  currentFrame(version: number): Frame {
    return new Frame(`{"_tag":"Current","version":${version}`, Checksum.ofFrame(this.sum, version, this.hash))
  }

  private get sum(): number {
    this.knownSum ??= this.encoded.sum()
    return this.knownSum
  }

  private patchStart(base: QueryResult): FrameStart {
    let start = this.patches.get(base)
    if (start === undefined) {
      const ops = JSON.stringify(Patch.make(base.encoded.json(), this.encoded.json()))
      start = ops.length < this.text.length ? new FrameStart(`{"_tag":"Patch","ops":${ops}`) : this.snapshotStart()
      this.patches.set(base, start)
    }
    return start
  }

  private snapshotStart(): FrameStart {
    this.snapshot ??= new FrameStart(`{"_tag":"Snapshot","value":${this.text}`)
    return this.snapshot
  }
}

/** A frame without the request that it is for: the beginning of its text, and that of its checksum. */
export class Frame {
  private readonly start: string
  private readonly sum: number

  constructor(start: string, sum: number) {
    this.start = start
    this.sum = sum
  }

  /** The text of the frame, for the request with this JSON of its id. */
  text(idText: string): string {
    return `${this.start},"sum":${Checksum.addRequest(this.sum, idText)}}`
  }

  /** The messages that carry the frame: one, or several when it is too large for one. */
  messages(idText: string): ReadonlyArray<string> {
    return FrameParts.split(this.text(idText)).map((part) => chunkMessage(idText, part))
  }
}

/** A frame without its version. The one at the last version is kept: all subscribers of one flush are sent it. */
class FrameStart {
  private readonly start: string
  private version: number | undefined
  private frame = new Frame("", 0)

  constructor(start: string) {
    this.start = start
  }

  at(version: number, hash: string, sum: number): Frame {
    if (this.version !== version) {
      this.version = version
      const text = `${this.start},"version":${version},"hash":"${hash}"`
      this.frame = new Frame(text, Checksum.ofFrame(sum, version, hash))
    }
    return this.frame
  }
}

/** 128 bits of SHA-256. A collision would leave a subscriber with an old value, so it must not happen. */
const hashOf = (encoded: EncodedResult): string => Base64Url.encode(encoded.digest().subarray(0, 16))
