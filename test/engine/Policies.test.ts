import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Auth } from "effect-dormouse/auth"
import { TestApp } from "effect-dormouse/testing"
import { afterEach, expect, it, vi } from "vitest"
import { ReadRecorder } from "../../src/services/storage/ReadSet.ts"
import { PolicyApi, policyApp } from "./policyApp.ts"

const as = (subject: string, claims: Auth.Identity["claims"] = {}) => ({
  as: { subject, claims: { channels: [], ...claims } }
})
const clientOf = (subject: string) => TestApp.client(PolicyApi, as(subject))

const run = (body: Effect.Effect<void, unknown, any>) =>
  Effect.runPromise(body.pipe(Effect.scoped, Effect.provide(TestApp.layer(policyApp))) as Effect.Effect<void>)

/** Follows a live query. Returns what it shows. */
const follow = <A>(stream: Stream.Stream<A, unknown>) =>
  Effect.gen(function* () {
    const shown: { value: A | undefined } = { value: undefined }
    yield* Effect.forkScoped(
      Stream.runForEach(stream, (value) =>
        Effect.sync(() => {
          shown.value = value
        })
      )
    )
    return shown
  })

/** How long a value is waited for. A control knows that it does not come. */
let patience = 20_000

const shows = (shown: { readonly value: unknown }, value: unknown) =>
  Effect.promise(() => expect.poll(() => shown.value, { timeout: patience }).toEqual(value))

afterEach(() => {
  patience = 20_000
  vi.restoreAllMocks()
})

const revoked = Effect.gen(function* () {
  const ada = yield* clientOf("ada")
  const bob = yield* clientOf("bob")
  yield* ada.mutate("join", { id: "1", channel: "a", user: "ada" })
  expect(yield* ada.mutate("send", { id: "m1", channel: "a", body: "one" })).toBe("ada")
  const list = yield* follow(ada.live("list", { channel: "a" }))
  const ofBob = yield* follow(bob.live("list", { channel: "a" }))
  const page = { channel: "a", size: 10, after: null, until: null }
  const pages = yield* follow(bob.live("page", page))
  yield* shows(list, ["one"])
  yield* shows(ofBob, [])
  yield* shows(pages, { items: [], next: null, split: null })
  yield* ada.mutate("join", { id: "2", channel: "a", user: "bob" })
  yield* shows(ofBob, ["one"])
  yield* shows(pages, { items: [{ id: "m1", secret: "***" }], next: null, split: null })
  yield* ada.mutate("leave", { id: "2" })
  yield* shows(ofBob, [])
  yield* shows(pages, { items: [], next: null, split: null })
  expect(yield* bob.query("list", { channel: "a" })).toEqual([])
  yield* ada.mutate("send", { id: "m2", channel: "a", body: "two" })
  yield* shows(list, ["one", "two"])
  expect(ofBob.value).toEqual([])
  yield* ada.mutate("join", { id: "2", channel: "a", user: "bob" })
  yield* shows(ofBob, ["one", "two"])
})

it("P1, P4: a permission that changes takes rows out of live lists and pages, and gives them back", () => run(revoked))

it("P4: control: without the reads of a policy, a live list keeps what may not be read any more", async () => {
  patience = 1_000
  const { range } = ReadRecorder.prototype
  vi.spyOn(ReadRecorder.prototype, "range").mockImplementation(function (this: ReadRecorder, table, index, read) {
    if (table !== "members") range.call(this, table, index, read)
  })
  await expect(run(revoked)).rejects.toThrow()
})

it("P4: control: without a record of the caller, one caller is shown the list of another", async () => {
  patience = 1_000
  vi.spyOn(ReadRecorder.prototype, "identity").mockImplementation(() => {})
  await expect(run(revoked)).rejects.toThrow()
})

it("P4: queries whose policies do not look at the caller have one run for all", () =>
  run(
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const clients = yield* Effect.forEach(["ada", "bob"], clientOf)
      for (const client of clients) {
        yield* shows(yield* follow(client.live("notes", {})), [])
        yield* shows(yield* follow(client.live("list", { channel: "a" })), [])
      }
      const { live } = yield* Effect.promise(() => object().engine())
      const sharing = live.explain().map(({ perIdentity, subscribers, tag }) => [tag, perIdentity, subscribers])
      expect(sharing.toSorted()).toEqual([
        ["list", true, 1],
        ["list", true, 1],
        ["notes", false, 2]
      ])
    })
  ))

it("P2, P6: what is denied reaches the caller as Forbidden, and tells nothing", () =>
  run(
    Effect.gen(function* () {
      const eve = yield* clientOf("eve")
      const failures = [
        yield* Effect.flip(eve.mutate("send", { id: "m1", channel: "a", body: "x" })),
        yield* Effect.flip(eve.query("byIp", {}))
      ]
      for (const failure of failures) {
        expect(failure).toMatchObject({ _tag: "CallError", reason: { _tag: "Forbidden" } })
        expect(JSON.stringify(failure)).not.toMatch(/messages|policy|insert/)
      }
      const root = yield* TestApp.client(PolicyApi, as("root", { admin: true }))
      expect(yield* root.query("byIp", {})).toBe(0)
    })
  ))

it("P1: results that are cached for one caller are not shown to another, also after an eviction", () =>
  run(
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const ada = yield* clientOf("ada")
      const eve = yield* clientOf("eve")
      yield* ada.mutate("join", { id: "1", channel: "a", user: "ada" })
      yield* ada.mutate("send", { id: "m1", channel: "a", body: "one" })
      for (let i = 0; i < 2; i++) {
        for (let j = 0; j < 2; j++) {
          expect(yield* ada.query("list", { channel: "a" })).toEqual(["one"])
          expect(yield* eve.query("list", { channel: "a" })).toEqual([])
        }
        yield* Effect.promise(() => object().evict())
      }
    })
  ))
