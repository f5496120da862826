/**
 * Pages of a paged query as one growing list that stays live.
 * `make` and `makeUnsafe` are typed by the contract; `LoadedPages` does the work.
 */
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type { Scope } from "effect/Scope"
import type { PublicTagOf } from "../contract/Api.ts"
import type * as Page from "../contract/Page.ts"
import type { Client } from "./ClientTypes.ts"
import { LoadedPages, type Pages, type PagesOptions } from "./LoadedPages.ts"
import { untyped } from "./UntypedClient.ts"

export type { Pages, PagesOptions, PagesState } from "./LoadedPages.ts"

/** The item type of a query whose success is a `Page`. */
export type ItemOf<R> = Rpc.Success<R> extends Page.Of<infer A> ? A : never

/**
 * Starts reading the pages of a query, until `end` is called. Once a page's first value has arrived, its end cursor is
 * fixed: rows inserted or deleted later change the size of the page they fall in, and no other page. A page that grew
 * to more than twice its size is split in two. For other filters make new pages.
 */
export const makeUnsafe = <Rpcs extends Rpc.Any, Tag extends PublicTagOf<Rpcs, "query">>(
  client: Client<Rpcs>,
  tag: Tag,
  options: PagesOptions<Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>>
): Pages<ItemOf<Rpc.ExtractTag<Rpcs, Tag>>> => new LoadedPages(untyped(client), tag, options)

/** Reads the pages of a query for as long as the scope. */
export const make = <Rpcs extends Rpc.Any, Tag extends PublicTagOf<Rpcs, "query">>(
  client: Client<Rpcs>,
  tag: Tag,
  options: PagesOptions<Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>>
): Effect.Effect<Pages<ItemOf<Rpc.ExtractTag<Rpcs, Tag>>>, never, Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => makeUnsafe(client, tag, options)),
    (pages) => Effect.sync(pages.end)
  )
