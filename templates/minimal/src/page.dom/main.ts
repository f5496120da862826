import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Client } from "effect-dormouse/client"
import { AppApi } from "../api.ts"
import type { Task } from "../schema.ts"
import { element, find, handle, text } from "./dom.ts"

const form = find("add", HTMLFormElement)
const list = find("tasks", HTMLUListElement)

const page = Effect.gen(function* () {
  const client = yield* Client.make(AppApi, { url: location.origin })

  const item = (task: Task) => {
    const box = element("input", { type: "checkbox", checked: task.done })
    handle(box, "change", () => client.mutate("tasks.setDone", { id: task.id, done: box.checked }))
    const button = element("button", { type: "button", textContent: "×", ariaLabel: `Remove ${task.text}` })
    handle(button, "click", () => client.mutate("tasks.remove", { id: task.id }))
    const label = element("label", {}, box, element("span", { textContent: task.text }))
    return element("li", {}, label, button)
  }

  handle(form, "submit", () =>
    Effect.tap(client.mutate("tasks.add", { text: text(form, "text") }), () => Effect.sync(() => form.reset()))
  )

  yield* client.connection.pipe(
    Stream.runForEach(({ _tag }) =>
      Effect.sync(() => (find("connection", HTMLElement).textContent = _tag.toLowerCase()))
    ),
    Effect.forkScoped
  )

  // Now, and after every change, whoever makes it.
  yield* client
    .live("tasks.list", {})
    .pipe(Stream.runForEach((tasks) => Effect.sync(() => list.replaceChildren(...tasks.map(item)))))
})

Effect.runFork(Effect.scoped(page))
