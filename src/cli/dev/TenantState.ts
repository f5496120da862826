/**
 * What the tenants of a running `dormouse dev` hold: one line whenever it changes. Rows are counted in the files of workerd,
 * live queries are what `GET /rpc/explain` says, which the Worker has to allow.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Schema from "effect/Schema"
import * as Style from "../Style.ts"

const Explanation = Schema.Array(Schema.Struct({ tag: Schema.String, subscribers: Schema.Int }))

/** What the live queries of the tenant `main` are; nothing if the Worker does not say. */
const live = Effect.fnUntraced(function* (url: string) {
  const client = HttpClient.filterStatusOk(yield* HttpClient.HttpClient)
  const response = yield* client.get(new URL("/rpc/explain", url))
  const queries = yield* HttpClientResponse.schemaBodyJson(Explanation)(response)
  const subscribers = queries.reduce((sum, query) => sum + query.subscribers, 0)
  return `${plural(queries.length, "live query", "live queries")}, ${plural(subscribers, "subscriber")}`
}, Effect.option)

interface Counts {
  readonly databases: number
  readonly tables: number
  readonly rows: number
}

const quote = (name: string) => `"${name.replaceAll('"', '""')}"`

/** Counts the rows of the author's tables in the databases below a folder. */
const count = Effect.fnUntraced(function* (folder: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const { DatabaseSync } = yield* Effect.tryPromise(() => import("node:sqlite"))
  const state = path.join(folder, ".wrangler/state/v3/do")
  const files = (yield* fs.readDirectory(state, { recursive: true })).filter((file) =>
    /\/[0-9a-f]{64}\.sqlite$/.test(file)
  )
  const names = new Set<string>()
  let rows = 0
  for (const file of files) {
    const database = new DatabaseSync(path.join(state, file), { readOnly: true })
    try {
      const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all()
      for (const { name } of tables) {
        // Those that begin with _ belong to the engine and to workerd.
        if (typeof name !== "string" || /^(_|sqlite_)/.test(name)) continue
        names.add(name)
        const [counted] = database.prepare(`SELECT count(*) AS count FROM ${quote(name)}`).all()
        rows += Number(counted?.["count"] ?? 0)
      }
    } finally {
      database.close()
    }
  }
  return { databases: files.length, tables: names.size, rows } satisfies Counts
}, Effect.option)

const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`

const lineOf = Effect.fnUntraced(function* (folder: string, url: string) {
  const parts = [
    ...Option.toArray(
      Option.map(yield* count(folder), ({ databases, rows, tables }) =>
        databases === 0
          ? "no rows yet"
          : `${plural(rows, "row")} in ${plural(tables, "table")} of ${plural(databases, "tenant")}`
      )
    ),
    ...Option.toArray(yield* live(url))
  ]
  return parts.join("; ")
})

/** Prints the line now and whenever it has changed, at most once a second. */
export const show = Effect.fnUntraced(function* (folder: string, url: string) {
  const style = yield* Style.style
  let shown = ""
  while (true) {
    const line = yield* lineOf(folder, url)
    if (line !== shown && line !== "") yield* Console.log(style.dim(`  ${line}`))
    shown = line
    yield* Effect.sleep("1 second")
  }
})
