/**
 * The changes of a board that the page shows before the server has made them, offline too.
 * Each is the change that the server makes, applied to the live list of cards.
 */
import * as DateTime from "effect/DateTime"
import { useCallback } from "react"
import { byPosition, positionAfter, positionAtEnd } from "../position.ts"
import { type BoardId, Card, CardId, type Column, type ColumnId, type PersonId } from "../schema.ts"
import { useMutation } from "./client.ts"

/** The cards of a column, in their order. */
export const cardsOf = (cards: ReadonlyArray<Card>, column: ColumnId): ReadonlyArray<Card> =>
  cards.filter((card) => card.column === column)

const changed = (cards: ReadonlyArray<Card>, id: CardId, changes: Partial<Card>): ReadonlyArray<Card> =>
  cards.map((card) => (card.id === id ? new Card({ ...card, ...changes }) : card))

/** Ignores the outcome: the live list shows it, and what the server refuses disappears from it. */
const shown = (call: Promise<unknown>): void => void call.catch(() => undefined)

/** What a board offers to its cards. */
export interface Changes {
  readonly add: (column: ColumnId, title: string) => void
  readonly move: (card: CardId, column: ColumnId, after: CardId | null) => void
  readonly edit: (card: CardId, changes: { readonly title?: string; readonly notes?: string }) => void
  readonly assign: (card: CardId, assignee: PersonId | null) => void
  readonly remove: (card: CardId) => void
}

/** The changes of one board. */
export const useChanges = (board: BoardId, columns: ReadonlyArray<Column>, me: PersonId): Changes => {
  const isDone = (column: ColumnId) => columns.find(({ id }) => id === column)?.isDone ?? false
  const [add] = useMutation("cards.add", {
    optimistic: (view, { column, id, title }) =>
      view.update("cards.list", { board }, (cards) => [
        ...cards,
        new Card({
          id,
          board,
          column,
          title,
          position: positionAtEnd(cardsOf(cards, column).at(-1)?.position),
          notes: "",
          author: me,
          assignee: null,
          isDone: isDone(column),
          comments: 0,
          createdAt: DateTime.nowUnsafe()
        })
      ])
  })
  const [move] = useMutation("cards.move", {
    optimistic: (view, { after, card, column }) =>
      view.update("cards.list", { board }, (cards) => {
        const position = positionAfter(cardsOf(cards, column), after, card)
        return [...changed(cards, card, { column, position, isDone: isDone(column) })].sort(byPosition)
      })
  })
  const [edit] = useMutation("cards.edit", {
    optimistic: (view, { card, ...changes }) =>
      view.update("cards.list", { board }, (cards) => changed(cards, card, changes))
  })
  const [assign] = useMutation("cards.assign", {
    optimistic: (view, { assignee, card }) =>
      view.update("cards.list", { board }, (cards) => changed(cards, card, { assignee }))
  })
  const [remove] = useMutation("cards.delete", {
    optimistic: (view, { card }) =>
      view.update("cards.list", { board }, (cards) => cards.filter(({ id }) => id !== card))
  })
  return {
    add: useCallback((column, title) => shown(add({ id: CardId.make(crypto.randomUUID()), column, title })), [add]),
    move: useCallback((card, column, after) => shown(move({ card, column, after })), [move]),
    edit: useCallback((card, changes) => shown(edit({ card, ...changes })), [edit]),
    assign: useCallback((card, assignee) => shown(assign({ card, assignee })), [assign]),
    remove: useCallback((card) => shown(remove({ card })), [remove])
  }
}
