import { type Peer, request } from "../deployment/Deployment.ts"
import type { Random } from "../random.ts"
import { checkExit, checkFrames, checkText, closesForMessages, ensure, type Reader } from "./checks.ts"
import { bytes, type Thread, text } from "./messages.ts"
import { callsIn, type SentCall, type TenantModel } from "./model.ts"

/** Milliseconds after which an answer counts as lost. */
const patience = 60_000

/** A socket that the fuzzer has open: sends frames, and checks what comes back. */
export class OpenSocket {
  readonly peer: Peer
  private readonly reader: Reader
  private readonly model: TenantModel
  /** The calls that were sent, by id. */
  private readonly calls = new Map<string, SentCall>()
  /** Ids that were used twice: it is not known which of the calls an answer is for. */
  private readonly reused = new Set<string>()
  /** Whether a frame was sent for which the server must close the socket: nothing after it is handled. */
  private isBroken = false
  /** Whether the fuzzer has closed it. */
  private isOurs = false
  private seenTexts = 0
  private seenMessages = 0
  private barriers = 0

  constructor(peer: Peer, reader: Reader, model: TenantModel) {
    this.peer = peer
    this.reader = reader
    this.model = model
  }

  /** Sends frames at once, and waits until the server has handled them. Returns how many were sent. */
  async burst(thread: Thread): Promise<number> {
    const { random } = thread
    const count = 1 + random.int(5)
    for (let i = 0; i < count; i++) this.frame(random, text(thread, true))
    const barrier = `barrier-${this.barriers++}`
    this.sendText(JSON.stringify(request(barrier, "nothing", null)))
    await this.peer
      .until(() => this.peer.closed !== undefined || this.peer.exits(barrier).length > 0, patience)
      .catch((cause) => ensure(false, () => `a frame is not answered: ${cause}`))
    this.check()
    return count
  }

  private frame(random: Random, text: string): void {
    const data = random.chance(0.05) ? bytes(random, text) : wellFormed(text)
    const read = typeof data === "string" ? data : decode(data)
    const calls = read === undefined ? undefined : callsIn(read)
    if (calls === undefined || read?.endsWith("\n")) this.isBroken = true
    if (!this.isBroken) {
      this.model.accept(this.reader.caller.subject, calls ?? [])
      for (const call of calls ?? []) this.remember(call)
    }
    this.sendText(data)
  }

  private remember(call: SentCall): void {
    const id = JSON.stringify(call.id)
    if (this.calls.has(id)) this.reused.add(id)
    this.calls.set(id, call)
  }

  private sendText(data: string | Uint8Array<ArrayBuffer>): void {
    try {
      this.peer.sendText(data)
    } catch (cause) {
      // A client's own end refuses frames after the close.
      ensure(this.isOurs || this.peer.closed !== undefined, () => `a frame cannot be sent: ${cause}`)
    }
  }

  /** Checks what has arrived since the last check. */
  check(): void {
    const { closed, messages, texts } = this.peer
    for (; this.seenTexts < texts.length; this.seenTexts++) checkText(texts[this.seenTexts]!, this.reader)
    for (; this.seenMessages < messages.length; this.seenMessages++) this.checkMessage(messages[this.seenMessages])
    if (closed === undefined) {
      ensure(!this.isBroken, () => "the socket stays open after a frame that is not made of messages")
      return
    }
    checkText(closed.reason, this.reader)
    // The fuzzer may have promised acknowledgements, and sends none.
    const isUnacknowledged = closed.code === 1011 && closed.reason.startsWith("no acknowledgement")
    const isAllowed = closesForMessages.has(closed.code) || isUnacknowledged || this.isOurs
    ensure(isAllowed, () => `the socket is closed: ${JSON.stringify(closed)}`)
  }

  private checkMessage(message: any): void {
    const call = this.calls.get(JSON.stringify(message?.requestId))
    switch (message?._tag) {
      case "Chunk":
        if (this.reused.has(JSON.stringify(message.requestId))) return
        return checkFrames(call, message.values, this.reader.caller)
      case "Exit": {
        if (String(message.requestId).startsWith("barrier-")) return
        ensure(call !== undefined, () => `nobody asked for ${JSON.stringify(message).slice(0, 500)}`)
        const isKnown = !this.reused.has(JSON.stringify(message.requestId))
        const row = isKnown ? checkExit(call, message.exit, this.reader.caller) : undefined
        if (row !== undefined) this.model.tell(row)
        return
      }
      case "Committed":
      case "Delivered":
        return ensure(typeof message.version === "number", () => JSON.stringify(message))
      default:
        ensure(message?._tag === "Pong", () => `the server sends ${JSON.stringify(message).slice(0, 500)}`)
    }
  }

  /** Closes the socket as a client does, and sends frames after it. */
  async end(thread: Thread): Promise<void> {
    this.isOurs = true
    if (this.peer.closed === undefined) {
      this.peer.close(thread.random.pick([1000, 3000, 4999]))
      this.isBroken = true
      this.frame(thread.random, text(thread, true))
    }
    this.seenMessages = this.peer.messages.length
    this.seenTexts = this.peer.texts.length
  }
}

const keepingMark = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true })
/** A text without lone surrogates, as every client sends it. workerd replaces each of their bytes. */
const wellFormed = (text: string): string => keepingMark.decode(new TextEncoder().encode(text))

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false })
const decode = (bytes: Uint8Array): string | undefined => {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}
