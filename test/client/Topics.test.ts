import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { Topics } from "effect-dormouse/pubsub/client"
import { TestApp } from "effect-dormouse/testing"
import { describe, expect, it } from "vitest"
import { app, Here, TopicsApi } from "../worker/topics.ts"

/** Topics and presence through the client. */

const run = <A>(effect: Effect.Effect<A, unknown, any>): Promise<A> =>
  Effect.runPromise(Effect.scoped(Effect.provide(effect, TestApp.layer(app))) as Effect.Effect<A, unknown>)

const as = (subject: string) => ({ as: { subject, claims: {} } })

/** Collects what a stream emits. */
const collect = <A>(stream: Stream.Stream<A, unknown>) =>
  Effect.gen(function* () {
    const seen: Array<A> = []
    const fiber = yield* Effect.forkScoped(
      Effect.exit(Stream.runForEach(stream, (value) => Effect.sync(() => void seen.push(value))))
    )
    return { seen, fiber }
  })

const eventually = (read: () => unknown, expected: unknown) => Effect.promise(() => expect.poll(read).toEqual(expected))

describe("topics through the client", () => {
  it("C17: a reader gets the messages, also after a lost connection", () =>
    run(
      Effect.gen(function* () {
        const [ada, bob] = [yield* TestApp.client(TopicsApi, as("ada")), yield* TestApp.client(TopicsApi, as("bob"))]
        const { seen } = yield* collect(Topics.messages(ada, "said", { room: "a" }))
        const say = (text: string) => bob.mutate("say", { room: "a", texts: [text] })
        const texts = () => seen.map(({ text }) => text)
        const { object } = yield* TestApp
        /** It reads from some moment on. */
        const until = (text: string): Effect.Effect<void, unknown> =>
          Effect.flatMap(say(text), () =>
            Effect.flatMap(Effect.sleep(10), () => (texts().includes(text) ? Effect.void : until(text)))
          )
        yield* until("first")
        yield* say("second")
        yield* eventually(() => texts().at(-1), "second")
        yield* Effect.promise(() => object().crash())
        yield* until("third")
        yield* say("fourth")
        yield* eventually(() => texts().at(-1), "fourth")
      })
    ))

  it("C17: a reader that is refused gets the declared failure", () =>
    run(
      Effect.gen(function* () {
        const ada = yield* TestApp.client(TopicsApi, as("ada"))
        const failure = yield* Effect.flip(Stream.runDrain(Topics.items(ada, "told", { room: "a" })))
        expect(failure).toMatchObject({ _tag: "NoMember", room: "a" })
      })
    ))

  it("PS16: a history goes on after its last item, whatever connection was lost meanwhile", () =>
    run(
      Effect.gen(function* () {
        const ada = yield* TestApp.client(TopicsApi, as("ada"))
        yield* ada.mutate("join", { room: "a", subject: "ada" })
        const { object } = yield* TestApp
        const emit = (texts: ReadonlyArray<string>) => ada.mutate("emit", { room: "a", texts })
        yield* emit(["0"])
        const all = yield* collect(Topics.items(ada, "tokens", { key: { room: "a" } }))
        const texts = () => all.seen.map(({ message }) => message.text)
        yield* eventually(texts, ["0"])
        for (let i = 1; i < 12; i++) {
          if (i % 3 === 0) yield* Effect.promise(() => object().crash())
          // A part of them is published while the connection is lost.
          yield* emit([`${i}`])
          if (i % 3 === 1) yield* eventually(() => texts().at(-1), `${i}`)
        }
        yield* eventually(
          texts,
          Array.from({ length: 12 }, (_, i) => `${i}`)
        )
        const { cursor } = all.seen[4]!
        const rest = yield* collect(Topics.messages(ada, "tokens", { key: { room: "a" }, after: cursor }))
        yield* eventually(() => rest.seen.length, 7)
        expect(rest.seen.map(({ text }) => text)).toEqual(texts().slice(5))
      })
    ))

  it("C18: who joins is among the peers, with the latest state, until it ends", () =>
    run(
      Effect.gen(function* () {
        const [ada, bob] = [yield* TestApp.client(TopicsApi, as("ada")), yield* TestApp.client(TopicsApi, as("bob"))]
        const { seen } = yield* collect(bob.live("here", { room: "a" }))
        const last = () => seen.at(-1)?.map(({ state, subject }) => `${subject} ${state.mood}`)
        const moods = yield* Queue.unbounded<{ readonly mood: string }>()
        const here = yield* Effect.forkScoped(Topics.join(ada, Here, { room: "a" }, Stream.fromQueue(moods)))
        for (const mood of ["glad", "calm", "sad"]) {
          yield* Queue.offer(moods, { mood })
          yield* eventually(last, [`ada ${mood}`])
        }
        // It was never seen to go.
        expect(seen.slice(1).every(({ length }) => length === 1)).toBe(true)
        const { object } = yield* TestApp
        yield* Effect.promise(() => object().crash())
        yield* eventually(last, ["ada sad"])
        yield* Fiber.interrupt(here)
        yield* eventually(last, [])
        const refused = yield* Effect.flip(Topics.join(ada, Here, { room: "closed" }, { mood: "" }))
        expect(refused).toMatchObject({ _tag: "NoMember", room: "closed" })
      })
    ))
})
