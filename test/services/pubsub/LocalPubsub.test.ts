import { expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Auth, Calls } from "effect-dormouse"
import { Jobs } from "effect-dormouse/jobs"
import { LocalPubsub } from "effect-dormouse/pubsub"
import { Database, Storage, Transactor } from "effect-dormouse/storage"
import { describe } from "vitest"
import { Histories } from "../../../src/contract/TopicHistory.ts"
import { app, Here, Latest, Said, Told, TopicsApi, TopicsHandlers } from "../../worker/topics.ts"
import { type Broker, publishCases } from "./publishCases.ts"

/** Topics and presence in a program without the engine. */

/** The mutations of the app run over `Transactor`, and its topics in the process. */
const withMutations = Jobs.layer({
  tables: app.tables,
  api: TopicsApi,
  handlers: TopicsHandlers,
  jobs: Jobs.make()
}).pipe(
  Layer.provideMerge(LocalPubsub.layer),
  // A process has no histories, and its handlers that read some are not called here.
  Layer.provide(Layer.succeed(Histories, { newest: () => Effect.die(new Error("there is no history")) })),
  Layer.provide(Database.layerMemory())
)

const topics: Readonly<Record<string, any>> = { said: Said, told: Told, latest: Latest }

const broker = async (): Promise<Broker> => {
  const scope = Scope.makeUnsafe()
  const context = await Effect.runPromise(Layer.buildWithScope(withMutations, scope))
  return {
    read: async (tag, key) => {
      const items: Array<unknown> = []
      let open = Promise.withResolvers<void>()
      // Takes an item when what has arrived before was acknowledged.
      const take = (item: unknown) =>
        Effect.promise(() => {
          items.push(item)
          return open.promise
        })
      const reading = Effect.runForkWith(context)(
        Stream.runForEach(LocalPubsub.subscribe(topics[tag], key as never), take)
      )
      return {
        items: () => items,
        acknowledge: () => {
          open.resolve()
          open = Promise.withResolvers()
        },
        close: () => reading.interruptUnsafe()
      }
    },
    call: async (tag, payload) => {
      const calling = Effect.flatMap(Calls.of(TopicsApi), ({ mutate }) => mutate(tag as "say", payload as never))
      const exit = await Effect.runPromiseExitWith(context)(calling)
      if (Exit.isSuccess(exit)) return undefined
      const failure: any = Cause.squash(exit.cause)
      return failure.reason ?? failure
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

describe("LocalPubsub", () => {
  publishCases(broker)

  const storage = Storage.layer({ tables: [] }).pipe(Layer.provide(Database.layerMemory()))
  const layer = Layer.merge(LocalPubsub.layer, storage)
  const run = <A>(name: string, body: Effect.Effect<A, unknown, any>) =>
    it.live(name, () => body.pipe(Effect.scoped, Effect.provide(layer)) as Effect.Effect<A>)

  /** The texts of a topic, from now on. */
  const texts = Effect.gen(function* () {
    const seen = yield* Queue.unbounded<string>()
    const read = Stream.runForEach(LocalPubsub.subscribe(Said, { room: "a" }), ({ message }) =>
      Queue.offer(seen, message.text)
    )
    yield* Effect.forkScoped(read, { startImmediately: true })
    return seen
  })
  const say = (text: string) => Said.publish({ room: "a" }, { text })

  run(
    "PS1: what is published outside of a transaction is read at once, and in one after its commit",
    Effect.gen(function* () {
      const seen = yield* texts
      const { read, write } = yield* Transactor
      yield* say("1")
      expect(yield* Queue.take(seen)).toBe("1")
      yield* write(Effect.andThen(say("2"), say("3")))
      yield* Effect.exit(write(Effect.andThen(say("rolled back"), Effect.fail("no"))))
      yield* say("4")
      expect([yield* Queue.take(seen), yield* Queue.take(seen), yield* Queue.take(seen)]).toEqual(["2", "3", "4"])
      const refused = yield* Effect.exit(read(say("5")))
      expect(Exit.isFailure(refused) && Cause.pretty(refused.cause)).toContain("cannot publish")
    })
  )

  run(
    "a subscriber gets what is published while it runs, and its topic and key alone",
    Effect.gen(function* () {
      yield* say("before")
      const seen = yield* texts
      yield* Said.publish({ room: "b" }, { text: "elsewhere" })
      yield* Latest.publish("a", 1)
      yield* say("x")
      expect(yield* Queue.take(seen)).toBe("x")
      const one = Stream.runCollect(Stream.take(LocalPubsub.subscribe(Told, { room: "a" }), 1))
      const fiber = yield* Effect.forkChild(one, { startImmediately: true })
      yield* Told.publish({ room: "a" }, { text: "decoded", at: new Date(0) })
      expect(yield* Fiber.join(fiber)).toEqual([{ message: { text: "decoded", at: new Date(0) } }])
    })
  )

  run(
    "PS8: a peer is present until its scope closes, with its latest state and its identity",
    Effect.gen(function* () {
      const seen = yield* Queue.unbounded<string>()
      const shown = Stream.map(LocalPubsub.peers(Here, { room: "a" }), (peers) =>
        peers.map(({ state, subject }) => `${subject} ${state.mood}`).join()
      )
      yield* Effect.forkScoped(Stream.runForEach(shown, (text) => Queue.offer(seen, text)))
      expect(yield* Queue.take(seen)).toBe("")
      const ada = yield* Scope.make()
      const say = yield* LocalPubsub.join(Here, { room: "a" }, { mood: "glad" }).pipe(
        Effect.provideService(Auth.CurrentIdentity, { subject: "ada", claims: {} }),
        Scope.provide(ada)
      )
      expect(yield* Queue.take(seen)).toBe("ada glad")
      yield* LocalPubsub.join(Here, { room: "a" }, { mood: "calm" })
      expect(yield* Queue.take(seen)).toBe("ada glad,null calm")
      yield* LocalPubsub.join(Here, { room: "b" }, { mood: "elsewhere" })
      yield* say({ mood: "sad" })
      expect(yield* Queue.take(seen)).toBe("ada sad,null calm")
      expect((yield* Here.peers({ room: "a" })).map(({ state }) => state.mood)).toEqual(["sad", "calm"])
      yield* Scope.close(ada, Exit.void)
      expect(yield* Queue.take(seen)).toBe("null calm")
    })
  )
})
