import * as Schema from "effect/Schema"

/**
 * The mutation was sent and no answer came for as long as was waited, or for as long as the server keeps outcomes. It
 * may or may not have been done.
 */
export class OutcomeUnknown extends Schema.TaggedError<OutcomeUnknown>("effect-dormouse/client/OutcomeUnknown")(
  "OutcomeUnknown",
  { tag: Schema.String }
) {
  override get message() {
    return `whether ${this.tag} was done is not known`
  }
}

/** The server does not want this client: its token was not accepted, or its tenant does not exist. */
export class ConnectionRefused extends Schema.TaggedError<ConnectionRefused>(
  "effect-dormouse/client/ConnectionRefused"
)("ConnectionRefused", { reason: Schema.String }) {
  override get message() {
    return `the server refused the connection: ${this.reason}`
  }
}
