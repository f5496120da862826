/// <reference types="@cloudflare/workers-types" />

/** The transfers without a framework, on the same wire. */
import { DurableObject } from "cloudflare:workers"
import { type Bank, createAccounts, insertAccounts, receive } from "./bank.ts"

interface Env {
  readonly TENANTS: DurableObjectNamespace<TenantObject>
}

export default {
  fetch(request, env) {
    return env.TENANTS.getByName("main").fetch(request)
  }
} satisfies ExportedHandler<Env>

export class TenantObject extends DurableObject<Env> {
  readonly #bank: Bank

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const { sql } = ctx.storage
    sql.exec(createAccounts)
    this.#bank = {
      transaction: (run) => ctx.storage.transactionSync(run),
      insert: (first, count, balance) => {
        sql.exec(insertAccounts, first, count, balance)
      },
      balance: (id) =>
        sql.exec<{ balance: number }>("SELECT balance FROM accounts WHERE id = ?", id).next().value?.balance,
      setBalance: (id, balance) => {
        sql.exec("UPDATE accounts SET balance = ? WHERE id = ?", balance, id)
      },
      total: () => sql.exec<{ total: number }>("SELECT sum(balance) AS total FROM accounts").one().total
    }
  }

  override fetch(): Response {
    const { 0: client, 1: server } = new WebSocketPair()
    this.ctx.acceptWebSocket(server)
    return new Response(null, { status: 101, webSocket: client })
  }

  override webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): void {
    if (typeof data === "string") this.schedule(() => receive(this.#bank, data, (answer) => socket.send(answer)))
  }

  /** Handles a message as it comes. */
  protected schedule(task: () => void): void {
    task()
  }
}
