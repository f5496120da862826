import * as Effect from "effect/Effect"

/** The element of the page with this id. */
export const find = <E extends HTMLElement>(id: string, type: abstract new (...args: ReadonlyArray<never>) => E): E => {
  const found = document.getElementById(id)
  if (found instanceof type) return found
  throw new Error(`the page has no ${type.name} with the id ${id}`)
}

/** What is written in a field of a form, without spaces around it. */
export const text = (form: HTMLFormElement, field: string): string => String(new FormData(form).get(field) ?? "").trim()

/** A new element with these properties and children. */
export const element = <Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  properties: Partial<HTMLElementTagNameMap[Name]>,
  ...children: ReadonlyArray<Node | string>
): HTMLElementTagNameMap[Name] => {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children)
  return made
}

/** Runs an effect for every event. Why it failed is shown where the page shows problems. */
export const handle = <E extends { readonly message: string }>(
  target: EventTarget,
  type: string,
  run: (event: Event) => Effect.Effect<unknown, E>
): void => {
  const say = (problem: string) => Effect.sync(() => (find("problem", HTMLElement).textContent = problem))
  target.addEventListener(type, (event) => {
    if (event.type === "submit") event.preventDefault()
    run(event).pipe(
      Effect.matchEffect({ onSuccess: () => say(""), onFailure: ({ message }) => say(message) }),
      Effect.runFork
    )
  })
}
