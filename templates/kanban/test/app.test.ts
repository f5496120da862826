import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestApp } from "effect-dormouse/testing"
import { expect, it } from "vitest"
import { AppApi } from "../src/api.ts"
import { app } from "../src/app.ts"

/** Runs a test against a backend of its own: the real engine, in memory. */
const run = <A, E>(test: Effect.Effect<A, E, TestApp | Scope>): Promise<A> =>
  test.pipe(Effect.scoped, Effect.provide(TestApp.layer(app)), Effect.runPromise)

/** A board with three cards in its first column. */
const makeBoard = Effect.gen(function* () {
  const client = yield* TestApp.client(AppApi)
  const board = yield* client.mutate("boards.create", { title: "Launch" })
  const [toDo, doing] = yield* client.query("columns.list", { board: board.id })
  const add = (title: string) => client.mutate("cards.add", { column: toDo!.id, title })
  return { client, board, toDo: toDo!, doing: doing!, cards: yield* Effect.forEach(["one", "two", "three"], add) }
})

it("makes a board with three columns, in order", () =>
  run(
    Effect.gen(function* () {
      const { board, client } = yield* makeBoard
      const columns = yield* client.query("columns.list", { board: board.id })
      expect(columns.map(({ title }) => title)).toEqual(["To do", "Doing", "Done"])
    })
  ))

it("moves a card within its column and to another one", () =>
  run(
    Effect.gen(function* () {
      const { board, cards, client, doing, toDo } = yield* makeBoard
      const [one, two, three] = cards.map(({ id }) => id)
      const titles = Effect.map(client.query("cards.list", { board: board.id }), (list) =>
        [toDo, doing].map(({ id }) => list.filter(({ column }) => column === id).map(({ title }) => title))
      )
      yield* client.mutate("cards.move", { card: three!, column: toDo.id, after: one! })
      expect(yield* titles).toEqual([["one", "three", "two"], []])
      yield* client.mutate("cards.move", { card: one!, column: doing.id, after: null })
      yield* client.mutate("cards.move", { card: two!, column: doing.id, after: one! })
      expect(yield* titles).toEqual([["three"], ["one", "two"]])
    })
  ))

it("shows what one user assigns to the other", () =>
  run(
    Effect.gen(function* () {
      const { board, cards, client: ada } = yield* makeBoard
      const bob = yield* TestApp.client(AppApi)
      const seen = yield* bob.live("cards.list", { board: board.id }).pipe(
        Stream.map((list) => list.find(({ id }) => id === cards[0]!.id)!.assignee),
        Stream.tap((assignee) =>
          assignee === null ? ada.mutate("cards.assign", { card: cards[0]!.id, assignee: "bob" }) : Effect.void
        ),
        Stream.take(2),
        Stream.runCollect
      )
      expect(seen).toEqual([null, "bob"])
    })
  ))

it("has no card that was removed", () =>
  run(
    Effect.gen(function* () {
      const { cards, client, doing } = yield* makeBoard
      yield* client.mutate("cards.remove", { card: cards[0]!.id })
      const move = client.mutate("cards.move", { card: cards[0]!.id, column: doing.id, after: null })
      expect(yield* Effect.flip(move)).toMatchObject({ _tag: "CardNotFound" })
    })
  ))
