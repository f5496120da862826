/**
 * Change feeds: every committed change of some tables, in the order of commits, from a cursor on.
 * A feed is a streaming rpc of the contract. Its handler decides who may read it, and policies which rows.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import type * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import { fieldsOf } from "./Table.ts"
import type { AnyTable } from "./TablePlan.ts"
import { Settings } from "./Topic.ts"
import { After, Cursor, Histories } from "./TopicHistory.ts"
import { TopicKind } from "./TopicKind.ts"

export { After, Cursor } from "./TopicHistory.ts"

/** Changes after the cursor are not kept any more. Read the tables anew, and begin after `newest` of the same query. */
export class ChangesExpired extends Schema.TaggedError<ChangesExpired>("effect-dormouse/ChangesExpired")(
  "ChangesExpired",
  {
    /** The cursor after which everything is kept. */
    earliest: Cursor
  }
) {}

/** A change of one row, as its reader sees it: a row that it may not read any more counts as deleted. */
export type ChangeOf<T extends AnyTable> = T extends {
  readonly name: infer Name
  readonly model: { readonly json: { readonly Type: infer Row } }
  readonly get: (key: infer Key) => any
}
  ?
      | { readonly table: Name; readonly op: "insert" | "update"; readonly row: Row }
      | { readonly table: Name; readonly op: "delete"; readonly key: Key }
  : never

/** The changes of one commit. */
export interface ChangeItem<Tables extends ReadonlyArray<AnyTable>> {
  /** Begin after it to get what follows. It is `start` while there was no change yet. */
  readonly cursor: After
  /** None in the first item, which tells where the reader begins. */
  readonly changes: ReadonlyArray<ChangeOf<Tables[number]>>
  /** The commit is large, and the next item has more of it. */
  readonly partial?: boolean
}

/** The tables of a feed, as an annotation of its rpc. */
export class FeedTables extends Context.Service<FeedTables, ReadonlyArray<AnyTable>>()(
  "effect-dormouse/Changes/FeedTables"
) {}

/** What a request for a feed contains. */
export const Following = Schema.Struct({ after: After })

/** How a feed is declared. */
export interface FeedOptions<Tables extends ReadonlyArray<AnyTable>, Error extends Schema.Top> {
  /** The tables whose changes it has. */
  readonly tables: Tables
  /** How the handler refuses a reader. */
  readonly error?: Error
}

/** A feed, declared once. */
export interface Feed<
  Tag extends string,
  Tables extends ReadonlyArray<AnyTable>,
  Error extends Schema.Top = typeof Schema.Never
> extends Rpc.Rpc<
    Tag,
    typeof Following,
    RpcSchema.Stream<Schema.Codec<ChangeItem<Tables>, unknown>, Schema.Union<readonly [typeof ChangesExpired, Error]>>,
    typeof Schema.Never,
    typeof TopicKind
  > {
  /**
   * The cursor of the newest commit, in a query or a mutation. A reader that begins after it gets every change that the same
   * transaction has not read.
   */
  readonly newest: Effect.Effect<After, never, Histories>
}

/** Declares a feed. */
export const feed = <
  const Tag extends string,
  const Tables extends ReadonlyArray<AnyTable>,
  Error extends Schema.Top = typeof Schema.Never
>(
  tag: Tag,
  { error, tables }: FeedOptions<Tables, Error>
): Feed<Tag, Tables, Error> => {
  const rpc = Rpc.make(tag, {
    payload: Following,
    success: itemOf(tables),
    error: error === undefined ? ChangesExpired : Schema.Union([ChangesExpired, error]),
    stream: true
  })
    .middleware(TopicKind)
    .annotate(Settings, { buffer: 1, isFeed: true })
    .annotate(FeedTables, tables)
  const newest = Effect.flatMap(Histories, ({ newest }) => newest(tag, null))
  // The types of the tables are lost with their list; the schemas are those of the result.
  return Object.assign(rpc, { newest }) as unknown as Feed<Tag, Tables, Error>
}

const itemOf = (tables: ReadonlyArray<AnyTable>): Schema.Top =>
  Schema.Struct({
    cursor: After,
    changes: Schema.Array(
      Schema.Union(
        tables.flatMap((table) => [
          Schema.Struct({
            table: Schema.Literal(table.name),
            op: Schema.Literals(["insert", "update"]),
            row: table.model.json
          }),
          Schema.Struct({ table: Schema.Literal(table.name), op: Schema.Literal("delete"), key: keyOf(table) })
        ])
      )
    ),
    partial: Schema.optionalKey(Schema.Boolean)
  })

/** The schema of a table's key. */
export const keyOf = ({ key, model }: AnyTable): Schema.Top => {
  const schema = fieldsOf(model.json)[key]
  if (!Schema.isSchema(schema))
    throw new Error(`a change feed needs the key ${key}, which is in no variant for the wire`)
  return schema
}
