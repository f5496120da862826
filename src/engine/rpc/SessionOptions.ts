/**
 * What the author decides about the sessions of sockets after they were opened.
 * `Cloudflare.serve` and `TestApp.layer` take these options.
 */
import type * as Duration from "effect/Duration"

/** What happens to a session whose token has ended, and how long tokens can live. */
export interface SessionOptions {
  /**
   * What happens to an open socket when its token has expired or was revoked. `close`, unless given: it is closed with 4401.
   * `anonymous`: it stays open, and its caller is anonymous from then on. `enter` is not asked again: choose this only where
   * anonymous callers may enter.
   */
  readonly expired?: "close" | "anonymous"
  /**
   * The longest time for which tokens are accepted after they were issued, whatever they say themselves. Revocations that are
   * older are deleted. They are kept for ever unless it is given.
   */
  readonly maxTokenLifetime?: Duration.Input
}
