import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as AsyncResult from "effect/reactivity/AsyncResult"
import * as Atom from "effect/reactivity/Atom"
import * as AtomRegistry from "effect/reactivity/AtomRegistry"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { Atoms } from "effect-dormouse/atoms"
import { TopicAtoms } from "effect-dormouse/pubsub/atoms"
import { TestApp } from "effect-dormouse/testing"
import { app, Here, TopicsApi } from "../worker/topics.ts"

/** The atoms of topics and presence. */

const registry = Effect.acquireRelease(
  Effect.sync(() => AtomRegistry.make()),
  (registry) => Effect.sync(() => registry.dispose())
)

/** Waits until the value of an atom satisfies the predicate. */
const until = <A>(registry: AtomRegistry.AtomRegistry, atom: Atom.Atom<A>, predicate: (value: A) => boolean) =>
  AtomRegistry.toStream(registry, atom).pipe(Stream.filter(predicate), Stream.runHead, Effect.map(Option.getOrThrow))

const setUp = Effect.gen(function* () {
  const ada = yield* TestApp.client(TopicsApi, { as: { subject: "ada", claims: {} } })
  const bob = yield* TestApp.client(TopicsApi, { as: { subject: "bob", claims: {} } })
  const atoms = Atoms.make(ada)
  const say = (...texts: ReadonlyArray<string>) => bob.mutate("say", { room: "a", texts })
  /** Says a text again and again: from some time on it is read. */
  const saying = (text: string) => Effect.forkScoped(Effect.repeat(say(text), Schedule.spaced("10 millis")))
  return { bob, atoms, topics: TopicAtoms.make(atoms), registry: yield* registry, say, saying }
})

const run = (name: string, body: Effect.Effect<void, any, any>) =>
  it.live(name, () => body.pipe(Effect.scoped, Effect.provide(TestApp.layer(app))) as Effect.Effect<void>)

const textOf = (result: AsyncResult.AsyncResult<{ readonly message: { readonly text: string } }, unknown>) =>
  Option.getOrUndefined(Option.map(AsyncResult.value(result), ({ message }) => message.text))

run(
  "C20: an atom has the latest item of a topic, or what a function makes of all, while it is mounted",
  Effect.gen(function* () {
    const { registry, say, saying, topics } = yield* setUp
    const latest = topics.latest("said", { room: "a" })
    expect(topics.latest("said", { room: "a" })).toBe(latest)
    expect(topics.latest("said", { room: "b" })).not.toBe(latest)
    const all = topics.reduce("said", "", (texts, { message }) => texts + message.text)
    expect(all({ room: "a" })).toBe(all({ room: "a" }))
    registry.mount(all({ room: "a" }))
    const unmount = registry.mount(latest)
    expect(registry.get(latest)).toMatchObject({ _tag: "Initial", waiting: true })
    expect(registry.get(all({ room: "a" }))).toMatchObject({ _tag: "Success", value: "" })
    const first = yield* saying("x")
    yield* until(registry, latest, (result) => textOf(result) === "x")
    yield* until(registry, all({ room: "a" }), (result) => AsyncResult.isSuccess(result) && result.value !== "")
    first.interruptUnsafe()
    yield* say("1", "2", "3")
    yield* until(registry, latest, (result) => textOf(result) === "3")
    yield* until(
      registry,
      all({ room: "a" }),
      (result) => AsyncResult.isSuccess(result) && /^x+123$/.test(result.value)
    )
    unmount()
    // Mounted again it begins anew.
    yield* Effect.promise(() => expect.poll(() => registry.get(latest)._tag).toBe("Initial"))
  })
)

run(
  "C20: an atom is present while it is mounted, with the state of another atom",
  Effect.gen(function* () {
    const { atoms, bob, registry, topics } = yield* setUp
    const mood = Atom.keepAlive(Atom.make({ mood: "glad" }))
    const here = topics.presence(Here, mood)
    expect(here({ room: "a" })).toBe(here({ room: "a" }))
    const peers = atoms.live("here", { room: "a" })
    registry.mount(peers)
    const shows = (expected: string) =>
      until(registry, peers, (result) => {
        const shown = Option.getOrElse(AsyncResult.value(result), () => [])
        return (
          AsyncResult.isSuccess(result) &&
          shown.map(({ state, subject }) => `${subject} ${state.mood}`).join() === expected
        )
      })
    yield* shows("")
    const unmount = registry.mount(here({ room: "a" }))
    yield* shows("ada glad")
    registry.set(mood, { mood: "sad" })
    yield* shows("ada sad")
    expect(registry.get(here({ room: "a" }))).toMatchObject({ _tag: "Initial", waiting: true })
    unmount()
    yield* shows("")
    registry.mount(here({ room: "b" }))
    const elsewhere = bob.live("here", { room: "b" }).pipe(
      Stream.filter((peers) => peers.length > 0),
      Stream.runHead
    )
    expect(Option.getOrThrow(yield* elsewhere)).toMatchObject([{ subject: "ada", state: { mood: "sad" } }])
    // With the registry its atoms are gone.
    registry.dispose()
    yield* bob.live("here", { room: "b" }).pipe(
      Stream.filter((peers) => peers.length === 0),
      Stream.runHead
    )
  })
)

run(
  "C20: an atom shows how the caller was refused",
  Effect.gen(function* () {
    const { registry, topics } = yield* setUp
    const told = topics.latest("told", { room: "a" })
    const closed = topics.presence(Here, Atom.make({ mood: "" }))({ room: "closed" })
    for (const atom of [told, closed]) {
      registry.mount(atom)
      const refused = yield* until<AsyncResult.AsyncResult<unknown, unknown>>(registry, atom, AsyncResult.isFailure)
      expect(Option.getOrThrow(AsyncResult.error(refused))).toMatchObject({ _tag: "NoMember" })
    }
  })
)
