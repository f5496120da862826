/** What the chat calls a person: the name in this tenant, or that of a guest who has not entered it yet. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { guestName } from "./names.ts"
import { people } from "./schema.ts"

/** The name of an account. */
export const nameOf = (id: string) =>
  Effect.map(
    Effect.option(people.get(id)),
    Option.match({
      onNone: () => guestName(id),
      onSome: ({ name }) => name
    })
  )
