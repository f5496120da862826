import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import type { Scope } from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { TagOf } from "../contract/Api.ts"
import type * as Page from "../contract/Page.ts"
import type { Client } from "./Client.ts"
import type { ConnectionState } from "./ConnectionState.ts"
import { LoadedPages } from "./LoadedPages.ts"
import { untyped } from "./UntypedClient.ts"

/** The pages that were loaded, as one list. */
export interface PagesState<A> {
  /** The items of all pages, in order, without gap or overlap. */
  readonly items: ReadonlyArray<A>
  /** Whether more can be loaded. */
  readonly hasMore: boolean
  /** Whether a page that was asked for is still to come, the first included. */
  readonly isLoading: boolean
  readonly connection: ConnectionState
  /** How a page failed, if one did. */
  readonly failure: Option.Option<Cause.Cause<unknown>>
}

export interface Pages<A> {
  readonly state: () => PagesState<A>
  readonly changes: Stream.Stream<PagesState<A>>
  readonly listen: (listener: (state: PagesState<A>) => void) => () => void
  /** Asks for the next page. Nothing happens while one is loading, or when there is none. */
  readonly loadMore: () => void
  readonly end: () => void
}

/** The item type of a query whose success is a `Page`. */
export type ItemOf<R> = Rpc.Success<R> extends Page.Of<infer A> ? A : never

export interface PagesOptions<Payload> {
  /** How many rows a page begins with. */
  readonly size: number
  /** The payload of one page: what to filter by, and the page that is asked for. */
  readonly payload: (page: Page.Request) => Payload
}

/**
 * Reactive pages of a query of pages. The end of a page is fixed as soon as its first value says where that is: from
 * then on rows that come and go change the size of the page they fall in and nothing else. A page that doubles is split.
 * Other filters are other pages: make them anew.
 */
export const makeUnsafe = <Rpcs extends Rpc.Any, Tag extends TagOf<Rpcs, "query">>(
  client: Client<Rpcs>,
  tag: Tag,
  options: PagesOptions<Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>>
): Pages<ItemOf<Rpc.ExtractTag<Rpcs, Tag>>> => new LoadedPages(untyped(client), tag, options)

/** The same, for as long as the scope. */
export const make = <Rpcs extends Rpc.Any, Tag extends TagOf<Rpcs, "query">>(
  client: Client<Rpcs>,
  tag: Tag,
  options: PagesOptions<Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>>
): Effect.Effect<Pages<ItemOf<Rpc.ExtractTag<Rpcs, Tag>>>, never, Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => makeUnsafe(client, tag, options)),
    (pages) => Effect.sync(pages.end)
  )
