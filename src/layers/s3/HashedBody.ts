/**
 * Bodies whose SHA-256 is computed while they are sent, and whose length is known to whoever sends them.
 * In Workers the platform computes it, elsewhere a library.
 */
import { sha256 } from "@noble/hashes/sha2.js"
import { bytesToHex } from "@noble/hashes/utils.js"
import type { Body } from "../../services/Blobs.ts"

type Chunk = Uint8Array<ArrayBuffer>

/** What of Workers hashes a stream, and tells `fetch` how long a body is. */
declare const crypto: { readonly DigestStream?: new (algorithm: "SHA-256") => DigestStream }
interface DigestStream extends WritableStream<Uint8Array> {
  readonly digest: Promise<ArrayBuffer>
}
interface Fixed {
  readonly readable: Body
  readonly writable: WritableStream<Chunk>
}
declare const FixedLengthStream: (new (length: number) => Fixed) | undefined

/** Computes the hash of chunks. */
interface Hash {
  readonly update: (chunk: Chunk) => void | Promise<void>
  /** In hexadecimal. */
  readonly end: () => string | Promise<string>
}

const makeHash = (): Hash => {
  if (crypto.DigestStream === undefined) {
    const hash = sha256.create()
    return { update: (chunk) => void hash.update(chunk), end: () => bytesToHex(hash.digest()) }
  }
  const stream = new crypto.DigestStream("SHA-256")
  const writer = stream.getWriter()
  return {
    update: (chunk) => writer.write(chunk),
    end: async () => {
      await writer.close()
      return bytesToHex(new Uint8Array(await stream.digest))
    }
  }
}

/** A body that must have so many bytes. It fails while it is read if it has others. */
export class HashedBody {
  /** Whether the body was cut, or has another size. */
  isWrong = false
  private readonly hash = makeHash()
  private readonly body: Body
  private readonly bytes: number

  constructor(body: Body, bytes: number) {
    this.body = body
    this.bytes = bytes
  }

  /** What is sent. */
  get stream(): Body {
    const checked = this.checked()
    if (typeof FixedLengthStream === "undefined") return checked
    const fixed = new FixedLengthStream(this.bytes)
    // Whoever reads it sees the failure.
    checked.pipeTo(fixed.writable).catch(() => {})
    return fixed.readable
  }

  /** The SHA-256 of what was sent, in hexadecimal. */
  checksum(): string | Promise<string> {
    return this.hash.end()
  }

  private checked(): Body {
    const reader = this.body.getReader()
    let count = 0
    const fail = (cause: unknown) => {
      this.isWrong = true
      throw cause
    }
    return new ReadableStream<Chunk>(
      {
        pull: async (controller) => {
          const { done, value } = await reader.read().catch(fail)
          count += value?.length ?? 0
          if (count > this.bytes || (done && count < this.bytes)) fail(new Error("the body has another size"))
          if (done) return controller.close()
          await this.hash.update(value)
          controller.enqueue(value)
        },
        cancel: (reason) => reader.cancel(reason)
      },
      { highWaterMark: 0 }
    )
  }
}
