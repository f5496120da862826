/**
 * The service by which an action calls queries and mutations. Authors use it through `Calls.of`.
 * Apart from `Calls.ts`, because the kinds name this service and `Calls.of` needs the types of contracts.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

/** Lets an action read and write the data of its tenant: each call is a transaction of its own. */
export class Calls extends Context.Service<
  Calls,
  {
    /** Calls an rpc by its tag, with a decoded payload. `Calls.of` adds the types of a contract. */
    readonly call: (tag: string, payload: unknown) => Effect.Effect<any, any>
  }
>()("effect-dormouse/Calls") {}
