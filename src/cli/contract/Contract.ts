/**
 * The contract of an app as a document that is committed: what clients may call, what they send and what they are sent,
 * and the rows of its tables. `dormouse check` compares it with that of the last release.
 */
import * as Context from "effect/Context"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import type { App } from "../../contract/App.ts"
import { isInternal } from "../../contract/Internal.ts"
import { isKind, kindOf, middlewaresOf } from "../../contract/Kind.ts"
import { fieldsOf } from "../../contract/Table.ts"
import { withSchemas } from "../../protocol/RpcCodec.ts"
import { Shape } from "./Shape.ts"
import { shapeOf } from "./ShapeOf.ts"

/** An rpc that clients may call. */
export const RpcDescription = Schema.Struct({
  kind: Schema.Literals(["query", "mutation", "action", "topic"]),
  /** Whether it answers with a stream. */
  streams: Schema.optionalKey(Schema.Literal(true)),
  /** Whether properties that are not declared are refused. They are ignored unless the rpc says otherwise. */
  strict: Schema.optionalKey(Schema.Literal(true)),
  payload: Shape,
  success: Shape,
  error: Shape
})
/** An rpc that clients may call. */
export type RpcDescription = typeof RpcDescription.Type

/** The rows of a table. */
export const TableDescription = Schema.Struct({ key: Schema.String, row: Shape })

/** The contract of one release. */
export const Contract = Schema.Struct({
  /** The version of this format. */
  version: Schema.Literal(1),
  rpcs: Schema.Record(Schema.String, RpcDescription),
  tables: Schema.Record(Schema.String, TableDescription)
})
/** The contract of one release. */
export type Contract = typeof Contract.Type

/** The contract of an app. Rpcs that are internal are not part of it: clients cannot call them. */
export const describe = (app: Pick<App<any>, "api" | "tables">): Contract => ({
  version: 1,
  rpcs: Object.fromEntries(
    [...app.api.declared.requests.values()]
      .filter((rpc: Rpc.Any) => !isInternal(rpc))
      .map((rpc: Rpc.Any) => [rpc._tag, describeRpc(withSchemas(rpc))] as const)
      .sort(([one], [other]) => (one < other ? -1 : 1))
  ),
  tables: Object.fromEntries(
    app.tables
      .map((table) => {
        const row = shapeOf(Schema.Struct(fieldsOf(table.model)))
        return [table.name, { key: table.key, row }] as const
      })
      .sort(([one], [other]) => (one < other ? -1 : 1))
  )
})

const describeRpc = (rpc: Rpc.AnyWithProps): RpcDescription => {
  const { errorSchema, payloadSchema, successSchema } = rpc
  const streams = RpcSchema.isStreamSchema(successSchema)
  const errors = [
    errorSchema,
    ...(streams ? [successSchema.error] : []),
    ...[...middlewaresOf(rpc)].filter((middleware) => !isKind(middleware)).map(({ error }) => error)
  ]
  const shapes = errors.map(shapeOf).filter((shape) => shape.not === undefined)
  const { onExcessProperty } = Context.get(rpc.annotations, Rpc.ParseOptions) ?? {}
  return {
    // Rpcs without a kind cannot be declared.
    kind: kindOf(rpc) ?? "query",
    ...(streams && { streams }),
    ...(onExcessProperty === "error" && { strict: true }),
    payload: shapeOf(payloadSchema),
    success: shapeOf(streams ? successSchema.success : successSchema),
    error: shapes.length === 1 ? shapes[0]! : shapeOf(Schema.Union(errors))
  }
}

const json = Schema.fromJsonString(Contract)

/** Reads a contract from the text of its file. Fails when it is none. */
export const parse = Schema.decodeEffect(json)

/** The text of the file of a contract: one property per line, so that a change of it can be reviewed. */
export const print = (contract: Contract): string =>
  `${JSON.stringify(Schema.encodeSync(Contract)(contract), null, 2)}\n`
