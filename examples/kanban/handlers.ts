import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import {
  BoardExists,
  BoardNotFound,
  CardExists,
  CardNotFound,
  ColumnNotFound,
  KanbanApi,
  PersonNotFound,
  type Totals
} from "./api.ts"
import { Me } from "./me.ts"
import { guestName } from "./names.ts"
import { byPosition, positionAfter, positionAtEnd } from "./position.ts"
import {
  type BoardId,
  boards,
  type CardId,
  type ColumnId,
  cards,
  columns,
  comments,
  Person,
  PersonId,
  people,
  progress
} from "./schema.ts"

/** The columns of a new board. */
const standard = [
  { name: "To do", isDone: false },
  { name: "Doing", isDone: false },
  { name: "Done", isDone: true }
]

/** Who is calling. Fails with `Unauthenticated` if nobody is signed in. */
const me = Effect.map(Me, ({ subject }) => PersonId.make(subject))

const boardOf = (board: BoardId) =>
  Effect.catchTag(boards.get(board), "RowNotFound", () => Effect.fail(new BoardNotFound({ board })))
const columnOf = (column: ColumnId) =>
  Effect.catchTag(columns.get(column), "RowNotFound", () => Effect.fail(new ColumnNotFound({ column })))
const cardOf = (card: CardId) =>
  Effect.catchTag(cards.get(card), "RowNotFound", () => Effect.fail(new CardNotFound({ card })))

/** Changes a card that exists. */
const change = (card: CardId, changes: Parameters<typeof cards.patch>[1]) =>
  Effect.asVoid(
    Effect.catchTag(cards.patch(card, changes), "RowNotFound", () => Effect.fail(new CardNotFound({ card })))
  )

export const KanbanHandlers = KanbanApi.toLayer({
  "people.me": Effect.fnUntraced(function* () {
    const caller = yield* Me.option
    if (Option.isNone(caller)) return null
    const id = PersonId.make(caller.value.subject)
    const known = yield* Effect.option(people.get(id))
    return Option.getOrElse(known, () => new Person({ id, name: guestName(id) }))
  }),

  "people.list": () => people.query(),

  "people.enter": Effect.fnUntraced(function* () {
    const id = yield* me
    const known = yield* Effect.option(people.get(id))
    if (Option.isNone(known)) yield* people.insert({ id, name: guestName(id) })
  }),

  "people.rename": ({ name }) => Effect.flatMap(me, (id) => people.upsert({ id, name })),

  "boards.list": () => boards.query("byName"),

  "boards.create": Effect.fnUntraced(function* ({ name }) {
    yield* me
    const board = yield* boards
      .insert({ name })
      .pipe(Effect.catchReason("StorageError", "UniqueViolation", () => Effect.fail(new BoardExists({ name }))))
    let position: string | undefined
    for (const column of standard) {
      position = positionAtEnd(position)
      yield* columns.insert({ ...column, board: board.id, position })
    }
    return board
  }),

  "columns.list": ({ board }) => columns.query("byBoard").eq("board", board),

  "columns.add": Effect.fnUntraced(function* ({ board, name }) {
    yield* me
    yield* boardOf(board)
    const last = yield* columns.query("byBoard").eq("board", board).descending.first
    const position = positionAtEnd(Option.getOrUndefined(last)?.position)
    return yield* columns.insert({ board, name, position, isDone: false })
  }),

  "columns.move": Effect.fnUntraced(function* ({ after, column }) {
    yield* me
    const { board } = yield* columnOf(column)
    const list = yield* columns.query("byBoard").eq("board", board)
    yield* Effect.orDie(columns.patch(column, { position: positionAfter(list, after, column) }))
  }),

  "cards.list": Effect.fnUntraced(function* ({ board }) {
    const list = yield* cards.query("byBoard").eq("board", board)
    return [...list].sort(byPosition)
  }),

  "cards.mine": Effect.fnUntraced(function* () {
    const assignee = yield* me
    return yield* cards.query("byAssignee").eq("assignee", assignee).eq("isDone", false)
  }),

  "cards.add": Effect.fnUntraced(function* ({ column, id, title }) {
    const author = yield* me
    const { board, isDone } = yield* columnOf(column)
    const last = yield* cards.query("byColumn").eq("column", column).descending.first
    const position = positionAtEnd(Option.getOrUndefined(last)?.position)
    const card = { id, board, column, position, title, notes: "", author, assignee: null, isDone, comments: 0 }
    return yield* cards
      .insert(card)
      .pipe(Effect.catchReason("StorageError", "UniqueViolation", () => Effect.fail(new CardExists({ card: id }))))
  }),

  "cards.move": Effect.fnUntraced(function* ({ after, card, column }) {
    yield* me
    const { board, isDone } = yield* columnOf(column)
    const list = yield* cards.query("byColumn").eq("column", column)
    yield* change(card, { board, column, isDone, position: positionAfter(list, after, card) })
  }),

  "cards.edit": Effect.fnUntraced(function* ({ card, ...changes }) {
    yield* me
    yield* change(card, changes)
  }),

  "cards.assign": Effect.fnUntraced(function* ({ assignee, card }) {
    yield* me
    if (assignee !== null) {
      yield* Effect.catchTag(people.get(assignee), "RowNotFound", () =>
        Effect.fail(new PersonNotFound({ person: assignee }))
      )
    }
    yield* change(card, { assignee })
  }),

  "cards.delete": Effect.fnUntraced(function* ({ card }) {
    yield* me
    yield* cards.delete(card)
  }),

  "comments.list": ({ card }) => comments.query("byCard").eq("card", card),

  "comments.add": Effect.fnUntraced(function* ({ body, card, id }) {
    const author = yield* me
    const { comments: count } = yield* cardOf(card)
    yield* change(card, { comments: count + 1 })
    return yield* comments.insert({ id, card, author, body })
  }),

  // The policy allows it to the author alone: for others there is no such comment to delete.
  "comments.delete": Effect.fnUntraced(function* ({ comment }) {
    yield* me
    const found = yield* Effect.option(comments.get(comment))
    if (Option.isNone(found) || !(yield* comments.delete(comment))) return
    const card = yield* Effect.option(cards.get(found.value.card))
    if (Option.isSome(card)) yield* Effect.ignore(change(card.value.id, { comments: card.value.comments - 1 }))
  }),

  "progress.list": ({ board }) => progress.query("byBoard").eq("board", board),

  "progress.totals": Effect.fnUntraced(function* () {
    const totals: Array<Totals> = []
    for (const { id: board } of yield* boards.query("byName")) {
      const count = (isDone: boolean) => cards.query("byBoard").eq("board", board).eq("isDone", isDone).count
      totals.push({ board, open: yield* count(false), done: yield* count(true) })
    }
    return totals
  }),

  "progress.record": Effect.fnUntraced(function* ({ totals }) {
    for (const { board, done, open } of totals) {
      const last = Option.getOrUndefined(yield* progress.query("byBoard").eq("board", board).descending.first)
      if ((last?.open ?? 0) === open && (last?.done ?? 0) === done) continue
      yield* progress.insert({ board, step: (last?.step ?? 0) + 1, open, done })
    }
  })
})
