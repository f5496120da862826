/**
 * The stores of the providers of one contract's hooks, by the client or the address that their clients have.
 * A provider that React discards and renders again finds its client here.
 */
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type { Scope } from "effect/Scope"
import type { Declared } from "../contract/Api.ts"
import * as Client from "./Client.ts"
import { Store } from "./ReactStore.ts"
import type { ClientProps, ServerProps } from "./ReactTypes.ts"
import { untyped } from "./UntypedClient.ts"

/** A store, and the token of the latest render, which its client uses for new connections. */
export interface StoreEntry {
  readonly store: Store
  token: ServerProps["token"]
}

/**
 * The stores whose clients are open, by client or address. When a component below a provider suspends and no `Suspense`
 * is between them, React discards the state of the provider; its next render must find the same client here.
 */
export class Stores<Rpcs extends Rpc.Any> {
  private readonly api: Declared<Rpcs>
  private readonly open = new Map<unknown, StoreEntry>()

  constructor(api: Declared<Rpcs>) {
    this.api = api
  }

  /** The store of a client that is made elsewhere. */
  of(client: NonNullable<ClientProps<Rpcs>["client"]>): StoreEntry {
    return this.get(client, undefined, () => (Effect.isEffect(client) ? client : Effect.succeed(client)))
  }

  /** The store of a client for this address. */
  at(url: string, tenant: string | undefined, token: ServerProps["token"]): StoreEntry {
    return this.get(JSON.stringify([url, tenant, token === undefined]), token, (entry) => {
      const current = Effect.promise(async () => (typeof entry.token === "function" ? entry.token() : entry.token!))
      return Client.make(this.api, {
        url,
        ...(tenant === undefined ? {} : { tenant }),
        ...(token === undefined ? {} : { token: current })
      })
    })
  }

  private get(
    key: unknown,
    token: ServerProps["token"],
    make: (entry: StoreEntry) => Effect.Effect<Client.Client<Rpcs>, never, Scope>
  ): StoreEntry {
    const found = this.open.get(key)
    if (found !== undefined) return found
    const store = new Store(
      Effect.suspend(() => Effect.map(make(entry), untyped)),
      (isOpen) => {
        if (isOpen) this.open.set(key, entry)
        else if (this.open.get(key) === entry) this.open.delete(key)
      }
    )
    const entry: StoreEntry = { store, token }
    return entry
  }
}
