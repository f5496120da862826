import { Accounts } from "effect-dormouse/accounts"

/** Everybody who opens the app has an account at once. It has no password: it lasts as long as the browser keeps it. */
export const accounts = Accounts.make({ password: false })
