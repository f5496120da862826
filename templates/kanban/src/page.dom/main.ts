import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { Client } from "effect-dormouse/client"
import { AppApi } from "../api.ts"
import { BoardId, type Card, CardId, type Column } from "../schema.ts"
import { element, find, handle, text } from "./dom.ts"

const name = find("name", HTMLInputElement)
const create = find("create", HTMLFormElement)
const boards = find("boards", HTMLSelectElement)

name.value = localStorage.getItem("name") ?? ""
name.addEventListener("input", () => localStorage.setItem("name", name.value))

const page = Effect.gen(function* () {
  const client = yield* Client.make(AppApi, { url: location.origin })
  const current = yield* SubscriptionRef.make<BoardId | undefined>(undefined)

  const cardItem = (card: Card) => {
    const assign = element("button", { type: "button", textContent: card.assignee ?? "Take" })
    handle(assign, "click", () => {
      const me = name.value.trim()
      return client.mutate("cards.assign", { card: card.id, assignee: card.assignee === me || me === "" ? null : me })
    })
    const remove = element("button", { type: "button", textContent: "×", ariaLabel: `Remove ${card.title}` })
    handle(remove, "click", () => client.mutate("cards.remove", { card: card.id }))
    const item = element(
      "li",
      { draggable: true },
      element("p", { textContent: card.title }),
      element("div", {}, assign, remove)
    )
    item.addEventListener("dragstart", (event) => event.dataTransfer?.setData("text/plain", card.id))
    return item
  }

  /** Cards that are dropped on a card come after it; those that are dropped beside the cards come last. */
  const acceptDrops = (target: HTMLElement, column: Column, after: () => CardId | null) => {
    target.addEventListener("dragover", (event) => event.preventDefault())
    handle(target, "drop", (event) => {
      event.preventDefault()
      event.stopPropagation()
      const card = CardId.make(event instanceof DragEvent ? (event.dataTransfer?.getData("text/plain") ?? "") : "")
      return card === after() ? Effect.void : client.mutate("cards.move", { card, column: column.id, after: after() })
    })
    return target
  }

  /** A column. Its cards are shown anew when they change, and its form stays: somebody may be writing in it. */
  const columnView = (column: Column) => {
    let cards: ReadonlyArray<Card> = []
    const add = element(
      "form",
      {},
      element("input", {
        name: "title",
        placeholder: "New card",
        ariaLabel: `New card in ${column.title}`,
        required: true
      }),
      element("button", { type: "submit", textContent: "Add" })
    )
    handle(add, "submit", () =>
      Effect.tap(client.mutate("cards.add", { column: column.id, title: text(add, "title") }), () =>
        Effect.sync(() => add.reset())
      )
    )
    const list = element("ul", { className: "cards" })
    const section = element(
      "section",
      { ariaLabel: column.title },
      element("h2", { textContent: column.title }),
      list,
      add
    )
    acceptDrops(section, column, () => cards.at(-1)?.id ?? null)
    const show = (all: ReadonlyArray<Card>) => {
      cards = all.filter((card) => card.column === column.id)
      list.replaceChildren(...cards.map((card) => acceptDrops(cardItem(card), column, () => card.id)))
    }
    return { section, show }
  }

  handle(create, "submit", () =>
    client.mutate("boards.create", { title: text(create, "title") }).pipe(
      Effect.tap(({ id }) => SubscriptionRef.set(current, id)),
      Effect.tap(() => Effect.sync(() => create.reset()))
    )
  )
  handle(boards, "change", () => SubscriptionRef.set(current, BoardId.make(boards.value)))

  yield* client.connection.pipe(
    Stream.runForEach(({ _tag }) =>
      Effect.sync(() => (find("connection", HTMLElement).textContent = _tag.toLowerCase()))
    ),
    Effect.forkScoped
  )

  yield* Stream.zipLatest(client.live("boards.list", {}), SubscriptionRef.changes(current)).pipe(
    Stream.runForEach(([list, chosen]) => {
      const first = list[0]
      if (chosen === undefined && first !== undefined) return SubscriptionRef.set(current, first.id)
      const option = ({ id, title }: (typeof list)[number]) =>
        element("option", { value: id, textContent: title, selected: id === chosen })
      return Effect.sync(() => boards.replaceChildren(...list.map(option)))
    }),
    Effect.forkScoped
  )

  // The columns and cards of the current board. Another board ends the streams of the one before.
  yield* SubscriptionRef.changes(current).pipe(
    Stream.switchMap((board) =>
      board === undefined
        ? Stream.empty
        : client.live("columns.list", { board }).pipe(
            Stream.map((columns) => columns.map(columnView)),
            Stream.tap((views) =>
              Effect.sync(() => find("board", HTMLElement).replaceChildren(...views.map(({ section }) => section)))
            ),
            Stream.switchMap((views) =>
              Stream.map(client.live("cards.list", { board }), (cards) => [views, cards] as const)
            )
          )
    ),
    Stream.runForEach(([views, cards]) =>
      Effect.sync(() => {
        for (const { show } of views) show(cards)
      })
    )
  )
})

Effect.runFork(Effect.scoped(page))
