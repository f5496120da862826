/**
 * `dormouse explain`: what the live queries of a tenant read and cost.
 * It shows what `GET /rpc/explain` has, in words.
 */

import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { connect, connection, print, runCommand, tenant } from "./Shared.ts"
import { show } from "./TextTable.ts"

/** What is printed of an explanation. A server of another version may say more. */
const Explanation = Schema.Struct({
  tag: Schema.String,
  payload: Schema.Unknown,
  perIdentity: Schema.Boolean,
  subscribers: Schema.Finite,
  reads: Schema.Unknown,
  runs: Schema.Finite,
  unchangedRuns: Schema.Finite,
  frames: Schema.Finite,
  bytes: Schema.Finite,
  invalidatedBy: Schema.Array(Schema.String)
})
const decode = Schema.decodeUnknownOption(Explanation)

const Reads = Schema.Struct({
  tables: Schema.Array(Schema.String),
  ranges: Schema.Array(Schema.Struct({ table: Schema.String, index: Schema.String }))
})
const decodeReads = Schema.decodeUnknownOption(Reads)

const describeReads = (reads: unknown): string =>
  Option.match(decodeReads(reads), {
    onNone: () => JSON.stringify(reads),
    onSome: ({ ranges, tables }) => {
      const parts = [
        ...tables.map((table) => `all of ${table}`),
        ...ranges.map(({ index, table }) => `${table} by ${index}`)
      ]
      return parts.length === 0 ? "nothing" : [...new Set(parts)].join(", ")
    }
  })

const textOf = (json: Schema.Json): string =>
  Option.match(decode(json), {
    onNone: () => `${JSON.stringify(json)}\n`,
    onSome: (query) =>
      [
        show(`${query.tag} ${JSON.stringify(query.payload)}`),
        `  ${query.subscribers} subscribers, ${query.perIdentity ? "a run for each caller" : "one run for all callers"}`,
        `  ${query.runs} runs, ${query.unchangedRuns} of them unchanged; ${query.frames} frames, ${query.bytes} characters`,
        `  reads ${show(describeReads(query.reads))}`,
        `  last invalidated by ${query.invalidatedBy.length === 0 ? "nothing" : show(query.invalidatedBy.join(", "))}`,
        ""
      ].join("\n")
  })

/** The command. */
export const explain = Command.make(
  "explain",
  {
    ...connection,
    tenant,
    json: Flag.Boolean("json").pipe(
      Flag.withDescription("Print a line of JSON for each live query"),
      Flag.withDefault(false)
    )
  },
  ({ json, tenant, ...connection }) =>
    Effect.gen(function* () {
      const call = yield* connect(connection)
      const queries = yield* call("explain", { tenant })
      if (json) yield* print(queries.map((query) => `${JSON.stringify(query)}\n`).join(""))
      else yield* print(queries.length === 0 ? "no live queries\n" : queries.map(textOf).join("\n"))
    }).pipe(Effect.scoped, runCommand)
).pipe(
  Command.withDescription("Show what each live query of a tenant reads, how often it ran and what it sent."),
  Command.withShortDescription("Show what live queries read and cost"),
  Command.withExamples([{ command: "dormouse explain --tenant acme", description: "The live queries of a tenant" }])
)
