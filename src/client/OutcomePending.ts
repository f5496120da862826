/**
 * What a mutation of a client with an outbox fails with when its caller does not wait any longer.
 * Apart from the other errors, so that a page without an outbox does not load it.
 */
import * as Schema from "effect/Schema"

/**
 * The `timeout` of a mutation has passed, and its outcome is not known yet. The mutation stays in the outbox and is still
 * sent, by this page or by a later one. Calling it again sends a second mutation.
 */
export class OutcomePending extends Schema.TaggedError<OutcomePending>("effect-dormouse/client/OutcomePending")(
  "OutcomePending",
  {
    /** The tag of the mutation. */
    tag: Schema.String
  }
) {
  override get message() {
    return `the outcome of ${this.tag} is not known yet: it is in the outbox, and is still sent`
  }
}
