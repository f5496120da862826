import * as Schema from "effect/Schema"
import { Auth } from "effect-dormouse/auth"

/** Who is calling: the claims of a token. */
export class Me extends Auth.Service<Me>()("chat/Me", {
  claims: Schema.Struct({
    name: Schema.NonEmptyString,
    /** Whether the account has no way to sign in again. */
    isGuest: Schema.Boolean,
    /** The tenants that the caller may enter besides `main`. */
    tenants: Schema.Array(Schema.String)
  })
}) {}
