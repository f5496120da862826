/** What the test of shared sockets has in its pages: a client that shares its socket, or does not, and what it was shown. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Client } from "effect-dormouse/client"
import { SharedSocket } from "effect-dormouse/shared-socket"
import { HooksApi } from "../../worker/hooks.ts"

/** Which caller opens a client, and how. */
export interface TabOptions {
  readonly tenant: string
  readonly board: string
  readonly token?: string
  readonly identity?: string
}

/** A client of a tab. */
export interface Tab {
  /** The values of the live query that were shown, in order. */
  readonly shown: Array<ReadonlyArray<string>>
  /** The present state of the connection. */
  connection: string
  /** The texts whose mutation has succeeded. */
  readonly done: Array<string>
  /** How mutations have failed. */
  readonly failed: Array<string>
  /** Adds a line. */
  readonly add: (text: string) => void
  /** Who the server says is calling. */
  readonly who: () => Promise<string | null>
  readonly close: () => Promise<void>
}

declare global {
  var openTab: (options: TabOptions) => void
  var tab: Tab
}
declare const location: { readonly origin: string }

globalThis.openTab = ({ board, identity, tenant, token }) => {
  const scope = Scope.makeUnsafe()
  const options = { url: location.origin, tenant, ...(token === undefined ? {} : { token }) }
  const client = Effect.runSync(
    Client.make(HooksApi, options).pipe(
      Effect.provide(SharedSocket.layer(identity === undefined ? {} : { identity })),
      Scope.provide(scope)
    )
  )
  const opened: Tab = {
    shown: [],
    connection: "",
    done: [],
    failed: [],
    add: (text) =>
      void Effect.runPromise(client.mutate("add", { board, text })).then(
        () => opened.done.push(text),
        (error) => opened.failed.push(`${text}: ${error}`)
      ),
    who: () => Effect.runPromise(client.query("who", {})),
    close: async () => {
      await Effect.runPromise(Fiber.interruptAll([values, states]))
      await Effect.runPromise(Scope.close(scope, { _tag: "Success" } as never))
    }
  }
  const values = Effect.runFork(
    Stream.runForEach(client.live("texts", { board }), (value) => Effect.sync(() => opened.shown.push(value)))
  )
  const states = Effect.runFork(
    Stream.runForEach(client.connection, ({ _tag }) =>
      Effect.sync(() => {
        opened.connection = _tag
      })
    )
  )
  globalThis.tab = opened
}
