import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Activity from "effect/workflow/Activity"
import * as DurableClock from "effect/workflow/DurableClock"
import * as Workflow from "effect/workflow/Workflow"
import { Api, Calls, Mutation } from "effect-dormouse"
import { Jobs } from "effect-dormouse/jobs"
import { Database, Transactor } from "effect-dormouse/storage"
import { Workflows } from "effect-dormouse/workflows"
import { expect, it } from "vitest"
import { notes } from "../../examples/embed/schema.ts"
import { turns } from "../deployment/memory.ts"

/** Workflows in a program without the engine. */

class NotesApi extends Api.make(Mutation.make("note", { payload: { text: Schema.String } })) {}
const handlers = NotesApi.toLayer({ note: ({ text }) => Effect.asVoid(Effect.orDie(notes.insert({ text }))) })

const Remind = Workflow.make("Remind", {
  payload: { text: Schema.String },
  success: Schema.String,
  idempotencyKey: ({ text }) => text
})
const RemindLive = Remind.toLayer(
  Effect.fnUntraced(function* ({ text }) {
    const note = (name: string) =>
      Activity.make({
        name,
        execute: Effect.flatMap(Calls.of(NotesApi), ({ mutate }) => Effect.orDie(mutate("note", { text: name })))
      })
    yield* note("first")
    yield* DurableClock.sleep({ name: "day", duration: "1 day" })
    yield* note("second")
    return text
  })
)

/** Fails until it is told not to, and waits to be resumed. */
let isFailing = true
const Stubborn = Workflow.make("Stubborn", { payload: { id: Schema.String }, idempotencyKey: ({ id }) => id }).annotate(
  Workflow.SuspendOnFailure,
  true
)
const StubbornLive = Stubborn.toLayer(() => Effect.suspend(() => (isFailing ? Effect.die("not yet") : Effect.void)))

const layer = Jobs.layer({
  tables: [notes],
  api: NotesApi,
  handlers,
  jobs: Workflows.make({ workflows: [RemindLive, StubbornLive] })
}).pipe(Layer.provide(Database.layerMemory()), Layer.provideMerge(TestClock.layer()))

const settled = Effect.promise(() => turns().then(turns))
const run = <A, E>(program: Effect.Effect<A, E, Layer.Success<typeof layer>>): Promise<A> =>
  Effect.runPromise(Effect.orDie(Effect.provide(program, layer)))

it("W1, W5: a transaction starts a workflow, and the program goes on with it when its clock is due", () =>
  run(
    Effect.gen(function* () {
      const { read, write } = yield* Transactor
      const texts = Effect.map(read(notes.query()), (notes) => notes.map(({ text }) => text))
      // The transaction has the service, whatever the type says.
      const start = Workflows.start(Remind, { text: "one" }) as Effect.Effect<string>
      const id = yield* write(start)
      yield* settled
      expect(yield* texts).toEqual(["first"])
      expect(yield* Remind.poll(id)).toMatchObject({ value: { _tag: "Suspended" } })
      yield* TestClock.adjust("1 day")
      yield* settled
      expect(yield* texts).toEqual(["first", "second"])
      expect(yield* Remind.poll(id)).toMatchObject({ value: { _tag: "Complete", exit: { value: "one" } } })
    })
  ))

it("W8: a workflow that suspends on a failure goes on when it is resumed, and not before", () =>
  run(
    Effect.gen(function* () {
      const id = yield* Stubborn.execute({ id: "1" }, { discard: true })
      yield* settled
      expect(yield* Stubborn.poll(id)).toMatchObject({ value: { _tag: "Suspended", failed: true } })
      yield* Stubborn.resume(id)
      yield* settled
      expect(yield* Stubborn.poll(id)).toMatchObject({ value: { _tag: "Suspended", failed: true } })
      isFailing = false
      yield* Stubborn.resume(id)
      yield* settled
      expect(yield* Stubborn.poll(id)).toMatchObject({ value: { _tag: "Complete" } })
    })
  ))
