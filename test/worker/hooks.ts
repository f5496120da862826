import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import { Action, Api, App, Auth, Mutation, Page, Query, Table } from "effect-dormouse"

/** An app with one rpc for each hook, for tests of frontends. */

class Line extends Model.Class<Line>("test/hooks/Line")({
  id: Table.key(Schema.String),
  board: Schema.String,
  text: Schema.String,
  at: Table.insertedAt
}) {}
const lines = Table.make("lines", Line, { key: "id", indexes: { byBoard: ["board", "at"] } })

class Closed extends Schema.TaggedError<Closed>("test/hooks/Closed")("Closed", { board: Schema.String }) {}

const Board = { board: Schema.String }

export class HooksApi extends Api.make(
  /** The texts of a board. One with a line `closed` refuses, until another line is added. */
  Query.make("texts", { payload: Board, success: Schema.Array(Schema.String), error: Closed }),
  Query.make("page", { payload: { ...Board, ...Page.Fields }, success: Page.Page(Line) }),
  Query.make("who", { payload: {}, success: Schema.NullOr(Schema.String) }),
  Mutation.make("add", { payload: { ...Board, text: Schema.String }, success: Line }),
  Action.make("double", { payload: { n: Schema.Int }, success: Schema.Int, error: Closed }),
  Action.make("count", { payload: { to: Schema.Int }, success: Schema.Int, error: Closed, stream: true }),
  Action.make("forever", { payload: {}, success: Schema.Int, stream: true })
) {}

/** How many endless actions run now, in this isolate. */
export const running = { forever: 0 }

const HooksHandlers = HooksApi.toLayer({
  texts: Effect.fnUntraced(function* ({ board }) {
    const texts = (yield* lines.query("byBoard").eq("board", board)).map(({ text }) => text)
    if (texts.at(-1) === "closed") return yield* new Closed({ board })
    return texts
  }),
  page: ({ board, ...page }) => lines.query("byBoard").eq("board", board).descending.page(page),
  who: () => Effect.map(Auth.identity, ({ subject }) => subject),
  add: (line) => lines.insert(line),
  double: ({ n }) => (n < 0 ? Effect.fail(new Closed({ board: "numbers" })) : Effect.succeed(2 * n)),
  count: ({ to }) => (to < 0 ? Stream.fail(new Closed({ board: "numbers" })) : Stream.range(1, to)),
  forever: () =>
    Stream.ensuring(
      Stream.concat(
        Stream.fromEffect(
          Effect.sync(() => {
            running.forever++
            return 1
          })
        ),
        // Not `never`: the platform ends an action that waits for nothing.
        Stream.drain(Stream.fromEffect(Effect.sleep("1 hour")))
      ),
      Effect.sync(() => {
        running.forever--
      })
    )
})

export const app = App.make({ api: HooksApi, tables: [lines], handlers: HooksHandlers })
