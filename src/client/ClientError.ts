/**
 * What calls and live queries of a client can fail with, beside the errors of the contract and `CallError`.
 * Both are typed errors: they appear in the error channel of `mutate`, `live` and `watch`.
 */
import * as Schema from "effect/Schema"

/**
 * The mutation was sent, and no readable answer came within its `timeout`, or within the time for which the server
 * keeps outcomes. The server ran it once or not at all. Calling it again sends a new mutation, which may run it twice.
 */
export class OutcomeUnknown extends Schema.TaggedError<OutcomeUnknown>("effect-dormouse/client/OutcomeUnknown")(
  "OutcomeUnknown",
  {
    /** The tag of the mutation. */
    tag: Schema.String
  }
) {
  override get message() {
    return `the outcome of ${this.tag} is unknown`
  }
}

/**
 * The server closed the socket with a code that says a retry will not help: 1008, or 4400 to 4499. For example, the
 * token was not accepted (4401) or the tenant does not exist (4404). The client does not reconnect until a new live query is started.
 * A call over HTTP fails with it when a Worker answers with 403 or 404, as if it had closed a socket with 4403 or 4404.
 */
export class ConnectionRefused extends Schema.TaggedError<ConnectionRefused>(
  "effect-dormouse/client/ConnectionRefused"
)("ConnectionRefused", {
  /** The close code, and the server's reason if it gave one: `4401 token expired`. */
  reason: Schema.String
}) {
  override get message() {
    return `the server refused the connection: ${this.reason}`
  }
}
