import * as Effect from "effect/Effect"
import { Accounts } from "effect-dormouse/accounts"
import { guestName, shownName } from "./names.ts"

/** The accounts of the chat. A visitor has one from the first visit on; a name and a password can be added later. */
export const accounts = Accounts.make({
  claims: ({ id, methods }) => {
    const password = methods.find(({ method }) => method === "password")
    return Effect.succeed({
      name: password === undefined ? guestName(id) : shownName(password.subject),
      isGuest: password === undefined,
      // Who has a name and a password is in the second team as well.
      tenants: password === undefined ? [] : ["acme"]
    })
  }
})
