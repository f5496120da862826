import * as Effect from "effect/Effect"
import { AppApi, TaskNotFound } from "./api.ts"
import { tasks } from "./schema.ts"

/** Each handler runs as one transaction of the tenant's database. A query is live: it runs again when its rows change. */
export const AppHandlers = AppApi.toLayer({
  "tasks.list": () => tasks.query("byAge").take(500),

  "tasks.add": ({ text }) => tasks.insert({ text, done: false }),

  "tasks.setDone": ({ done, id }) =>
    tasks.patch(id, { done }).pipe(Effect.catchTag("RowNotFound", () => Effect.fail(new TaskNotFound({ id })))),

  "tasks.remove": ({ id }) => Effect.asVoid(tasks.delete(id))
})
