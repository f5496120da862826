/**
 * Pages of a paged query as one growing list that stays live.
 * `make` and `makeUnsafe` are typed by the contract; `LoadedPages` does the work.
 */
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

/** The loaded pages, as one list. */
export interface PagesState<A> {
  /** The items of all loaded pages, in order, without gap or overlap. */
  readonly items: ReadonlyArray<A>
  /** Whether another page can be loaded. */
  readonly hasMore: boolean
  /** Whether a requested page, including the first, has no value yet. */
  readonly isLoading: boolean
  /** The state of the connection, which says how fresh the items are. */
  readonly connection: ConnectionState
  /** The failure of a page, if one failed. */
  readonly failure: Option.Option<Cause.Cause<unknown>>
}

/** A list of pages that is being read. */
export interface Pages<A> {
  /** The state now. */
  readonly state: () => PagesState<A>
  /** The state, now and after every change. A slow consumer gets the latest one. */
  readonly changes: Stream.Stream<PagesState<A>>
  /** Adds a listener, called synchronously on each change. Returns the function that removes it. */
  readonly listen: (listener: (state: PagesState<A>) => void) => () => void
  /** Requests the next page. Does nothing while a page is loading, or when there is none. */
  readonly loadMore: () => void
  /** Stops reading. */
  readonly end: () => void
}

/** The item type of a query whose success is a `Page`. */
export type ItemOf<R> = Rpc.Success<R> extends Page.Of<infer A> ? A : never

/** Which pages of which rows. */
export interface PagesOptions<Payload> {
  /** How many rows a page begins with: 1 to 1000. */
  readonly size: number
  /** Makes the payload of one page: the filters, and the fields of the requested page. */
  readonly payload: (page: Page.Request) => Payload
}

/**
 * Starts reading the pages of a query, until `end` is called. Once a page's first value has arrived, its end cursor is
 * fixed: rows inserted or deleted later change the size of the page they fall in, and no other page. A page that grew
 * to more than twice its size is split in two. For other filters make new pages.
 */
export const makeUnsafe = <Rpcs extends Rpc.Any, Tag extends TagOf<Rpcs, "query">>(
  client: Client<Rpcs>,
  tag: Tag,
  options: PagesOptions<Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>>
): Pages<ItemOf<Rpc.ExtractTag<Rpcs, Tag>>> => new LoadedPages(untyped(client), tag, options)

/** Reads the pages of a query for as long as the scope. */
export const make = <Rpcs extends Rpc.Any, Tag extends TagOf<Rpcs, "query">>(
  client: Client<Rpcs>,
  tag: Tag,
  options: PagesOptions<Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>>
): Effect.Effect<Pages<ItemOf<Rpc.ExtractTag<Rpcs, Tag>>>, never, Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => makeUnsafe(client, tag, options)),
    (pages) => Effect.sync(pages.end)
  )
