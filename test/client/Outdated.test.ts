import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Action, Api, App, CallError, Mutation, Query } from "effect-dormouse"
import { Client } from "effect-dormouse/client"
import { TestApp } from "effect-dormouse/testing"
import * as Transport from "../../src/client/Transport.ts"

/** A client of one version of a contract, and a server of another. */

const old = {
  write: Mutation.make("write", { payload: { name: Schema.String }, success: Schema.Int }),
  read: Query.make("read", { payload: { name: Schema.String }, success: Schema.Int }),
  shape: Query.make("shape", { payload: {}, success: Schema.Struct({ a: Schema.Int }) }),
  make: Mutation.make("make", { payload: {}, success: Schema.Struct({ a: Schema.Int }) }),
  gone: Query.make("gone", { payload: {}, success: Schema.Int }),
  act: Action.make("act", { payload: { name: Schema.String }, success: Schema.Int }),
  refuse: Mutation.make("refuse", { payload: {} })
}
class OldApi extends Api.make(old.write, old.read, old.shape, old.make, old.gone, old.act, old.refuse) {}

const same = Query.make("same", { payload: {}, success: Schema.Int })
const named = { name: Schema.String, title: Schema.String }
class NewApi extends Api.make(
  Mutation.make("write", { payload: named, success: Schema.Int }),
  Query.make("read", { payload: named, success: Schema.Int }),
  Query.make("shape", { payload: {}, success: Schema.Struct({ b: Schema.Int }) }),
  Mutation.make("make", { payload: {}, success: Schema.Struct({ b: Schema.Int }) }),
  Action.make("act", { payload: named, success: Schema.Int }),
  old.refuse,
  same
) {}

let ran = 0
const run = Effect.sync(() => ++ran)
const app = App.make({
  api: NewApi,
  tables: [],
  handlers: NewApi.toLayer({
    write: () => run,
    read: () => run,
    shape: () => Effect.succeed({ b: 1 }),
    make: () => Effect.as(run, { b: 1 }),
    act: () => run,
    same: () => Effect.succeed(1),
    refuse: () => Effect.fail(new CallError.CallError({ reason: new CallError.PayloadInvalid({ issue: "not today" }) }))
  })
})
const over = Effect.provide(TestApp.layer(app))

const reasonOf = (error: unknown) => (error instanceof CallError.CallError ? error.reason._tag : error)
const outdated = { _tag: "CallError", reason: { _tag: "Outdated" } }

describe("C33: a client whose contract is not the server's", () => {
  it.effect("C33: calls that the server cannot read, or does not have, did not run and are Outdated", () =>
    Effect.gen(function* () {
      ran = 0
      const client = yield* TestApp.client(OldApi)
      const name = { name: "a" }
      for (const call of [
        client.query("read", name),
        client.mutate("write", name),
        client.act("act", name),
        client.query("gone", {})
      ]) {
        const error = yield* Effect.flip<unknown, unknown, never>(call)
        expect(error).toMatchObject(outdated)
        expect(CallError.isOutdated(error)).toBe(true)
        expect((error as CallError.CallError).isRetryable).toBe(false)
      }
      expect(ran).toBe(0)
    }).pipe(over, Effect.scoped)
  )

  it.effect("C33: a result that the client cannot read is Outdated; that of a mutation, which ran, is unknown", () =>
    Effect.gen(function* () {
      ran = 0
      const client = yield* TestApp.client(OldApi)
      expect(yield* Effect.flip(client.query("shape", {}))).toMatchObject(outdated)
      expect(yield* Effect.flip(client.mutate("make", {}))).toMatchObject({ _tag: "OutcomeUnknown", tag: "make" })
      expect(ran).toBe(1)
    }).pipe(over, Effect.scoped)
  )

  it.effect(
    "C33: live queries, of which the server cannot read the payload or the client the value, are Outdated",
    () =>
      Effect.gen(function* () {
        const client = yield* TestApp.client(OldApi)
        for (const live of [client.live("read", { name: "a" }), client.live("shape", {}), client.live("gone", {})]) {
          const exit = yield* Effect.exit(Stream.runHead<unknown, unknown, never>(live))
          const error = Exit.isFailure(exit) ? Cause.findErrorOption(exit.cause) : Option.none()
          expect(Option.getOrUndefined(error)).toMatchObject(outdated)
        }
      }).pipe(over, Effect.scoped)
  )

  it.effect("C33: calls over an open socket are answered in the same way", () =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(Api.make(old.write, old.gone, same))
      const values = yield* Stream.toPull(client.live("same", {}))
      yield* values
      expect(reasonOf(yield* Effect.flip(client.mutate("write", { name: "a" })))).toBe("Outdated")
      expect(reasonOf(yield* Effect.flip(client.query("gone", {})))).toBe("Outdated")
    }).pipe(over, Effect.scoped)
  )
})

describe("C34: a payload that does not fit the client's own contract", () => {
  /** A client that counts its requests. */
  const counting = Effect.gen(function* () {
    const { transport, url } = yield* TestApp
    const fetch = yield* Effect.provide(Transport.Fetch, transport)
    const sent = { requests: 0 }
    const counted: typeof fetch = (url, init) => {
      sent.requests++
      return fetch(url, init)
    }
    const client = yield* Client.make(NewApi, { url }).pipe(
      Effect.provideService(Transport.Fetch, counted),
      Effect.provide(transport)
    )
    return { client, sent }
  })

  it.effect("C34: fails with PayloadInvalid, and nothing is sent", () =>
    Effect.gen(function* () {
      const { client, sent } = yield* counting
      const wrong = { name: 1, title: null } as never
      for (const call of [client.query("read", wrong), client.mutate("write", wrong), client.act("act", wrong)]) {
        expect(reasonOf(yield* Effect.flip(call))).toBe("PayloadInvalid")
      }
      expect(sent.requests).toBe(0)
      // The control: a payload that fits is sent.
      yield* client.query("read", { name: "a", title: "b" })
      expect(sent.requests).toBe(1)
    }).pipe(over, Effect.scoped)
  )

  it.effect("C34: a handler that refuses a payload is not taken for another contract", () =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(OldApi)
      expect(yield* Effect.flip(client.mutate("refuse", {}))).toMatchObject({
        reason: { _tag: "PayloadInvalid", issue: "not today" }
      })
    }).pipe(over, Effect.scoped)
  )

  it.effect("C34: the stock client of Effect sees what the server says", () =>
    Effect.gen(function* () {
      const call = yield* TestApp.rpc(OldApi)
      expect(reasonOf(yield* Effect.flip(call("read", { name: "a" })))).toBe("PayloadInvalid")
      expect(reasonOf(yield* Effect.flip(call("gone", {})))).toBe("UnknownRpc")
    }).pipe(over, Effect.scoped)
  )
})
