import * as Schema from "effect/Schema"
import { Auth } from "effect-dormouse/auth"

/** Who is calling: an account, of which the token says no more than the id. */
export class Me extends Auth.Service<Me>()("kanban/Me", { claims: Schema.Struct({}) }) {}
