/**
 * The worker of `persistedQueue.ts`: an object that adds and processes elements, by `PersistedQueues` and by hand-written SQL with
 * one transaction for each of both.
 */
import { DurableObject, WorkerEntrypoint } from "cloudflare:workers"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Schema from "effect/Schema"
import { Database, PersistedQueues } from "effect-dormouse/storage"

const Mail = Schema.Struct({ to: Schema.String, subject: Schema.String, n: Schema.Int })
const mail = (n: number): typeof Mail.Type => ({ to: "ada@example.com", subject: `message ${n}`, n })

export class TenantObject extends DurableObject {
  private readonly runtime = ManagedRuntime.make(
    PersistedQueues.layer().pipe(Layer.provide(Database.layerCloudflare(this.ctx.storage)))
  )

  override async fetch(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url)
    const count = Number(searchParams.get("count"))
    const processed = pathname === "/ours" ? await this.runtime.runPromise(this.ours(count)) : this.byHand(count)
    return new Response(String(processed))
  }

  private readonly ours = Effect.fnUntraced(function* (count: number) {
    const queue = yield* PersistedQueues.make({ name: "mail", schema: Mail })
    let processed = 0
    const process = queue.take((item) =>
      Effect.sync(() => {
        processed += item.n
      })
    )
    for (let i = 0; i < count; i++) {
      yield* queue.offer(mail(i))
      yield* process
    }
    return processed
  })

  private byHand(count: number): number {
    const { sql } = this.ctx.storage
    sql.exec(
      "CREATE TABLE IF NOT EXISTS queue (sequence INTEGER PRIMARY KEY, name TEXT NOT NULL, element TEXT NOT NULL, due INTEGER NOT NULL); " +
        "CREATE INDEX IF NOT EXISTS queue_by_due ON queue (name, due)"
    )
    let processed = 0
    for (let i = 0; i < count; i++) {
      this.ctx.storage.transactionSync(() =>
        sql.exec("INSERT INTO queue (name, element, due) VALUES (?, ?, ?)", "mail", JSON.stringify(mail(i)), Date.now())
      )
      this.ctx.storage.transactionSync(() => {
        const [row] = [
          ...sql
            .exec(
              "SELECT sequence, element FROM queue WHERE name = ? AND due <= ? ORDER BY due, sequence LIMIT 1",
              "mail",
              Date.now()
            )
            .raw()
        ]
        processed += JSON.parse(String(row![1])).n
        sql.exec("DELETE FROM queue WHERE sequence = ?", row![0])
      })
    }
    return processed
  }
}

export default class extends WorkerEntrypoint {
  override fetch(request: Request): Promise<Response> {
    const { exports }: any = this.ctx
    return exports.TenantObject.getByName("main").fetch(request)
  }
}
