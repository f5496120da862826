import * as Result from "effect/Result"
import * as Patch from "../../src/protocol/Patch.ts"
import { type Peer, request } from "../deployment/Deployment.ts"
import { Violation } from "../random.ts"
import { keeper, secretOf } from "./callers.ts"
import { ensure } from "./checks.ts"
import type { Door } from "./Door.ts"
import type { Row } from "./model.ts"

/** Milliseconds in which the live query shows the rows, and how often that is tried. */
const patience = 5000
const attempts = 10

/** The client that knows what is right: it reads a tenant's rows over HTTP and as a live query, before and after the others. */
export class Keeper {
  private readonly door: Door
  private readonly tenant: string
  private peer: Peer | undefined
  private value: any
  private seen = 0

  constructor(door: Door, tenant: string) {
    this.door = door
    this.tenant = tenant
  }

  private get headers(): ReadonlyArray<readonly [string, string]> {
    return [["x-dormouse-tenant", this.tenant]]
  }

  /** Deletes all rows but the tenant's secret. */
  async reset(): Promise<void> {
    await this.call("write", { statement: "DELETE FROM notes" })
    await this.call("notes.add", { body: secretOf(this.tenant) })
  }

  private async call(tag: string, payload: unknown): Promise<any> {
    const authorization = `Bearer ${this.door.issuer.tokenOf(keeper)}`
    const answer = await this.door.send({
      path: "/rpc",
      method: "POST",
      headers: [...this.headers, ["authorization", authorization]],
      body: JSON.stringify(request(1, tag, payload))
    })
    ensure("response" in answer && answer.response.status === 200, () => `the keeper is refused: ${tag}`)
    const [message] = (await answer.response.json()) as ReadonlyArray<any>
    ensure(message?.exit?._tag === "Success", () => `the keeper's ${tag} fails: ${JSON.stringify(message)}`)
    return message.exit.value
  }

  /** The rows, which must also be the value of the live query. */
  async rows(): Promise<ReadonlyArray<Row>> {
    const peer = await this.watch()
    let expected = ""
    // An action that goes on may write after the rows were read: they are read again then.
    for (let attempt = 0; attempt < attempts; attempt++) {
      const rows: ReadonlyArray<Row> = await this.call("notes.list", {})
      expected = JSON.stringify(rows)
      const isShown = () => this.take(peer) === expected || peer.closed !== undefined
      if (!(await peer.until(isShown, patience).catch(() => false))) continue
      ensure(peer.closed === undefined, () => `the keeper's socket is closed: ${JSON.stringify(peer.closed)}`)
      return rows
    }
    throw new Violation(`the live query of ${this.tenant} shows ${JSON.stringify(this.value)}, not ${expected}`)
  }

  /** The socket of the live query. */
  private async watch(): Promise<Peer> {
    if (this.peer !== undefined) return this.peer
    const protocols = `dormouse, dormouse.bearer.${this.door.issuer.tokenOf(keeper)}`
    const headers = [...this.headers, ["upgrade", "websocket"], ["sec-websocket-protocol", protocols]] as const
    const answer = await this.door.send({ path: "/rpc", method: "GET", headers })
    ensure("peer" in answer, () => "the keeper's socket is refused")
    this.peer = answer.peer
    this.peer.send(request("list", "live:notes.list", {}))
    return this.peer
  }

  /** Closes the socket. */
  close(): void {
    this.peer?.close(1000)
  }

  /** Applies the frames that have arrived, and acknowledges them. */
  private take(peer: Peer): string {
    const frames = peer.items("list")
    for (; this.seen < frames.length; this.seen++) {
      const frame = frames[this.seen]
      if (frame._tag === "Snapshot") this.value = frame.value
      else if (frame._tag === "Patch") this.value = Result.getOrThrow(Patch.apply(this.value, frame.ops))
      peer.send({ _tag: "Ack", requestId: "list" })
    }
    return JSON.stringify(this.value)
  }
}
