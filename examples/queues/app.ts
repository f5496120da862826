/**
 * Links whose pages are fetched by a queue: the declaration, its handler and the app. Nothing here says what carries the messages.
 */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Api, App, Calls, Mutation, Query, Table } from "effect-dormouse"
import { Jobs, Queue } from "effect-dormouse/jobs"

class Link extends Model.Class<Link>("queues/Link")({
  id: Table.key(Schema.String),
  url: Schema.String,
  title: Schema.NullOr(Schema.String)
}) {}
const links = Table.make("links", Link, { key: "id" })

const Previews = Queue.make("previews", {
  payload: { id: Schema.String, url: Schema.String },
  retry: Schedule.exponential("1 second"),
  concurrency: 20,
  timeout: "30 seconds"
})

/** The contract. */
export class LinksApi extends Api.make(
  Query.make("list", { payload: {}, success: Schema.Array(Link) }),
  Mutation.make("add", { payload: { url: Schema.String } }),
  Mutation.make("name", { payload: { id: Schema.String, title: Schema.String } })
) {}

const handlers = LinksApi.toLayer({
  list: () => links.query(),
  add: Effect.fnUntraced(function* ({ url }) {
    const { id } = yield* links.insert({ url, title: null })
    yield* Previews.send({ id, url })
  }),
  name: ({ id, title }) => Effect.orDie(links.patch(id, { title }))
})

const PreviewsLive = Previews.toLayer(
  Effect.fnUntraced(function* ({ id, url }) {
    const { mutate } = yield* Calls.of(LinksApi)
    const page = yield* Effect.flatMap(HttpClient.get(url), ({ text }) => text)
    yield* mutate("name", { id, title: /<title>(.*?)<\/title>/i.exec(page)?.[1] ?? url })
  })
)

/** The app. */
export const app = App.make({
  api: LinksApi,
  tables: [links],
  handlers,
  jobs: Jobs.make({ queues: [PreviewsLive] })
})
