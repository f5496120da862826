import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Action, Api, App, type CallerLimits, Calls, Mutation, Query, Table } from "effect-dormouse"

/** An app that counts what ran, with limits of callers that a test can reach. */

class Visit extends Model.Class<Visit>("test/Visit")({ id: Table.key(Schema.String), by: Schema.String }) {}
const visits = Table.make("visits", Visit, { key: "id" })

export class DoorsApi extends Api.make(
  Mutation.make("visit", { payload: { by: Schema.String } }),
  Query.make("visits", { payload: {}, success: Schema.Int }),
  Query.make("visits.by", { payload: { by: Schema.String }, success: Schema.Int }),
  Action.make("visit.often", { payload: { by: Schema.String, times: Schema.Int } })
) {}

/** How often a handler ran, in this isolate. */
export const ran = { visits: 0, actions: 0 }

export const DoorsHandlers = DoorsApi.toLayer({
  visit: ({ by }) =>
    Effect.asVoid(
      Effect.andThen(
        Effect.sync(() => ran.visits++),
        visits.insert({ by })
      )
    ),
  visits: () => visits.query().count,
  "visits.by": ({ by }) => Effect.map(visits.query(), (all) => all.filter((visit) => visit.by === by).length),
  "visit.often": Effect.fnUntraced(function* ({ by, times }) {
    ran.actions++
    const { mutate } = yield* Calls.of(DoorsApi)
    for (let i = 0; i < times; i++) yield* mutate("visit", { by })
  })
})

/** Doors with other limits than these. */
export const doors = (limits: Partial<CallerLimits.CallerLimits>) =>
  App.make({ api: DoorsApi, tables: [visits], handlers: DoorsHandlers, limits })

export const smallLimits: CallerLimits.CallerLimits = {
  liveQueriesPerSocket: 2,
  socketsPerIdentity: 2,
  socketsPerAddress: 3,
  callsPerIdentity: { limit: 10, window: "1 hour" },
  callsPerAddress: { limit: 15, window: "1 hour" }
}

export const smallDoors = doors(smallLimits)
export const openDoors = doors({
  liveQueriesPerSocket: Number.POSITIVE_INFINITY,
  socketsPerIdentity: Number.POSITIVE_INFINITY,
  socketsPerAddress: Number.POSITIVE_INFINITY,
  callsPerIdentity: { limit: Number.POSITIVE_INFINITY, window: "1 hour" },
  callsPerAddress: { limit: Number.POSITIVE_INFINITY, window: "1 hour" }
})
