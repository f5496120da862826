import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { TestApp } from "effect-dormouse/testing"
import { describe } from "vitest"
import { KanbanApi } from "../../examples/kanban/api.ts"
import { type BoardId, type CardId, type ColumnId, CommentId, PersonId } from "../../examples/kanban/schema.ts"
import { forAllAsync } from "../random.ts"
import { addCard, backend, cardId, newBoard, type Person, person } from "./people.ts"

/** What the board of examples/kanban promises to the people who move its cards. */

/** The titles of the cards of a column, in their order. */
const titles = Effect.fnUntraced(function* (client: Person, board: BoardId, column: ColumnId) {
  const cards = yield* client.query("cards.list", { board })
  return cards.filter((card) => card.column === column).map(({ title }) => title)
})

/** The tag of what an effect fails with, or of the reason of that. */
const tagOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => ("reason" in error ? Object(error.reason)._tag : error._tag))

describe("the order of cards", () => {
  it.effect("a card comes behind another one, to the front, and to the end of a column whose card has left", () =>
    Effect.gen(function* () {
      const ada = yield* person("Ada")
      const { board, doing, todo } = yield* newBoard(ada)
      for (const [i, title] of ["a", "b", "c"].entries()) yield* addCard(ada, todo, title, i)
      yield* ada.mutate("cards.move", { card: cardId(0), column: todo, after: cardId(1) })
      expect(yield* titles(ada, board, todo)).toEqual(["b", "a", "c"])
      yield* ada.mutate("cards.move", { card: cardId(2), column: todo, after: null })
      expect(yield* titles(ada, board, todo)).toEqual(["c", "b", "a"])
      yield* ada.mutate("cards.move", { card: cardId(1), column: doing, after: null })
      // The card that it should come behind is not in this column any more.
      yield* ada.mutate("cards.move", { card: cardId(2), column: todo, after: cardId(1) })
      expect(yield* titles(ada, board, todo)).toEqual(["a", "c"])
      expect(yield* titles(ada, board, doing)).toEqual(["b"])
      // Behind itself: it comes to the end, and is there once.
      yield* ada.mutate("cards.move", { card: cardId(0), column: todo, after: cardId(0) })
      expect(yield* titles(ada, board, todo)).toEqual(["c", "a"])
    }).pipe(Effect.scoped, Effect.provide(backend))
  )

  it("at random, the order is that of a list, and every page that looks sees the same", () =>
    forAllAsync(5, (random) =>
      Effect.gen(function* () {
        const ada = yield* person("Ada")
        const bob = yield* person("Bob")
        const { board, doing, done, todo } = yield* newBoard(ada)
        const model = new Map<ColumnId, Array<CardId>>([todo, doing, done].map((column) => [column, []]))
        const columns = [...model.keys()]
        let count = 0
        for (let step = 0; step < 60; step++) {
          const who = random.chance(0.5) ? ada : bob
          const column = random.pick(columns)
          const list = model.get(column)!
          if (count < 3 || random.chance(0.2)) {
            yield* addCard(who, column, `card ${count}`, count)
            list.push(cardId(count++))
            continue
          }
          const card = cardId(random.int(count))
          if (random.chance(0.1)) {
            yield* who.mutate("cards.delete", { card })
            for (const cards of model.values()) if (cards.includes(card)) cards.splice(cards.indexOf(card), 1)
            continue
          }
          const isThere = [...model.values()].some((cards) => cards.includes(card))
          const after = random.chance(0.3) ? null : random.pick([...list, cardId(random.int(count))])
          const move = who.mutate("cards.move", { card, column, after })
          if (!isThere) {
            expect(yield* tagOf(move)).toBe("CardNotFound")
            continue
          }
          yield* move
          for (const cards of model.values()) if (cards.includes(card)) cards.splice(cards.indexOf(card), 1)
          const at = after === null ? 0 : list.includes(after) ? list.indexOf(after) + 1 : list.length
          list.splice(at, 0, card)
        }
        for (const client of [ada, bob]) {
          const cards = yield* client.query("cards.list", { board })
          for (const [column, expected] of model) {
            expect(cards.filter((card) => card.column === column).map(({ id }) => id)).toEqual(expected)
          }
        }
      }).pipe(Effect.scoped, Effect.provide(backend), Effect.runPromise)
    ))

  it.effect("columns are moved too", () =>
    Effect.gen(function* () {
      const ada = yield* person("Ada")
      const { board, done, todo } = yield* newBoard(ada)
      yield* ada.mutate("columns.move", { column: done, after: null })
      yield* ada.mutate("columns.add", { board, name: "Later" })
      yield* ada.mutate("columns.move", { column: todo, after: done })
      const columns = yield* ada.query("columns.list", { board })
      expect(columns.map(({ name }) => name)).toEqual(["Done", "To do", "Doing", "Later"])
    }).pipe(Effect.scoped, Effect.provide(backend))
  )
})

describe("what belongs to people", () => {
  it.effect("the cards that are assigned to me are live, across boards, until they are done", () =>
    Effect.gen(function* () {
      const ada = yield* person("Ada")
      const bob = yield* person("Bob")
      const garden = yield* newBoard(ada)
      const house = yield* newBoard(ada, "House")
      yield* addCard(ada, garden.todo, "weed", 1)
      yield* addCard(ada, house.todo, "paint", 2)
      const steps: Array<Effect.Effect<void, { readonly _tag: string }>> = [
        ada.mutate("cards.assign", { card: cardId(1), assignee: bob.id }),
        ada.mutate("cards.assign", { card: cardId(2), assignee: bob.id }),
        ada.mutate("cards.move", { card: cardId(1), column: garden.done, after: null }),
        ada.mutate("cards.assign", { card: cardId(2), assignee: ada.id })
      ]
      const seen = yield* bob.live("cards.mine", {}).pipe(
        Stream.map((cards) => cards.map(({ title }) => title).sort()),
        Stream.tap(() => Effect.asVoid(Effect.orDie(steps.shift() ?? Effect.void))),
        Stream.take(5),
        Stream.runCollect
      )
      expect(seen).toEqual([[], ["weed"], ["paint", "weed"], ["paint"], []])
      expect((yield* ada.query("cards.mine", {})).map(({ title }) => title)).toEqual(["paint"])
      const nobody = PersonId.make("nobody")
      expect(yield* tagOf(ada.mutate("cards.assign", { card: cardId(2), assignee: nobody }))).toBe("PersonNotFound")
    }).pipe(Effect.scoped, Effect.provide(backend))
  )

  it.effect("a comment is counted, and deleted by its author alone", () =>
    Effect.gen(function* () {
      const ada = yield* person("Ada")
      const bob = yield* person("Bob")
      const { board, todo } = yield* newBoard(ada)
      yield* addCard(ada, todo, "weed", 1)
      const comment = CommentId.make(cardId(7))
      yield* bob.mutate("comments.add", { id: comment, card: cardId(1), body: "tomorrow" })
      const count = Effect.map(ada.query("cards.list", { board }), (cards) => cards[0]?.comments)
      expect(yield* count).toBe(1)
      yield* Effect.exit(ada.mutate("comments.delete", { comment }))
      expect(
        (yield* ada.query("comments.list", { card: cardId(1) })).map(({ author, body }) => [author, body])
      ).toEqual([["bob", "tomorrow"]])
      expect(yield* count).toBe(1)
      yield* bob.mutate("comments.delete", { comment })
      expect(yield* ada.query("comments.list", { card: cardId(1) })).toEqual([])
      expect(yield* count).toBe(0)
    }).pipe(Effect.scoped, Effect.provide(backend))
  )

  it.effect("a caller without a token reads, and changes nothing", () =>
    Effect.gen(function* () {
      const ada = yield* person("Ada")
      const { board, todo } = yield* newBoard(ada)
      const anonymous = yield* TestApp.client(KanbanApi)
      expect(yield* anonymous.query("cards.list", { board })).toEqual([])
      const add = anonymous.mutate("cards.add", { id: cardId(1), column: todo, title: "weed" })
      expect(yield* tagOf(add)).toBe("Unauthenticated")
      expect(yield* tagOf(anonymous.mutate("boards.create", { name: "Mine" }))).toBe("Unauthenticated")
      expect(yield* tagOf(anonymous.mutate("people.rename", { name: "Ada" }))).toBe("Unauthenticated")
      expect(yield* anonymous.query("cards.list", { board })).toEqual([])
    }).pipe(Effect.scoped, Effect.provide(backend))
  )

  it.effect("the same card, board or comment is not added twice", () =>
    Effect.gen(function* () {
      const ada = yield* person("Ada")
      const { todo } = yield* newBoard(ada)
      yield* addCard(ada, todo, "weed", 1)
      expect(yield* tagOf(addCard(ada, todo, "again", 1))).toBe("CardExists")
      expect(yield* tagOf(ada.mutate("boards.create", { name: "Garden" }))).toBe("BoardExists")
    }).pipe(Effect.scoped, Effect.provide(backend))
  )
})

describe("the progress of a board", () => {
  it.effect("has one entry for each change of its totals, also when the object was evicted in between", () =>
    Effect.gen(function* () {
      const ada = yield* person("Ada")
      const { object } = yield* TestApp
      const { board, doing, done, todo } = yield* newBoard(ada)
      const history = ada
        .live("progress.list", { board })
        .pipe(Stream.map((entries) => entries.map(({ done, open }) => `${done} of ${done + open}`)))
      const becomes = (expected: ReadonlyArray<string>) =>
        history.pipe(
          Stream.takeUntil((entries) => entries.length >= expected.length),
          Stream.runLast,
          Effect.map((last) =>
            expect(last.pipe((option) => (option._tag === "Some" ? option.value : []))).toEqual(expected)
          )
        )
      yield* addCard(ada, todo, "weed", 1)
      yield* becomes(["0 of 1"])
      yield* addCard(ada, todo, "water", 2)
      yield* becomes(["0 of 1", "0 of 2"])
      yield* Effect.promise(() => object().evict())
      // Neither changes the totals.
      yield* ada.mutate("cards.edit", { card: cardId(1), title: "weed it" })
      yield* ada.mutate("cards.move", { card: cardId(1), column: doing, after: null })
      yield* ada.mutate("cards.move", { card: cardId(1), column: done, after: null })
      yield* becomes(["0 of 1", "0 of 2", "1 of 2"])
      yield* Effect.promise(() => object().evict())
      yield* ada.mutate("cards.delete", { card: cardId(2) })
      yield* becomes(["0 of 1", "0 of 2", "1 of 2", "1 of 1"])
    }).pipe(Effect.scoped, Effect.provide(backend))
  )
})
