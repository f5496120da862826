import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import type { Scope } from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { TagOf } from "../contract/Api.ts"
import type * as Page from "../contract/Page.ts"
import type { Client, Observed } from "./Client.ts"
import { ConnectionState } from "./ConnectionState.ts"
import { Observable } from "./Observable.ts"

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
): Pages<ItemOf<Rpc.ExtractTag<Rpcs, Tag>>> => new LoadedPages(client, tag, options) as any

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

/** One page that is watched: from one place to another, or to no place yet. */
interface Watched {
  readonly after: string | null
  readonly until: string | null
  readonly observed: Observed<Page.Of<unknown>, unknown>
}

class LoadedPages implements Pages<unknown> {
  private readonly client: Client<any>
  private readonly tag: string
  private readonly options: PagesOptions<any>
  private readonly shown: Observable<PagesState<unknown>>
  private pages: ReadonlyArray<Watched>
  /** Pages that will stand in the place of one that is shown, once all of them have come. */
  private successors: { readonly of: Watched; readonly pages: ReadonlyArray<Watched> } | undefined
  private ended = false

  constructor(client: Client<any>, tag: string, options: PagesOptions<any>) {
    this.client = client
    this.tag = tag
    this.options = options
    this.shown = new Observable<PagesState<unknown>>({
      items: [],
      hasMore: false,
      isLoading: true,
      connection: ConnectionState.Connecting(),
      failure: Option.none()
    })
    this.pages = []
    this.pages = [this.watch(null, null)]
    this.update()
  }

  readonly state = (): PagesState<unknown> => this.shown.value
  readonly listen = (listener: (state: PagesState<unknown>) => void) => this.shown.listen(listener)
  get changes(): Stream.Stream<PagesState<unknown>> {
    return this.shown.changes
  }

  readonly loadMore = (): void => {
    const { hasMore, isLoading } = this.shown.value
    const last = this.pages.at(-1)!
    if (!hasMore || isLoading || last.until === null) return
    this.pages = [...this.pages, this.watch(last.until, null)]
    this.update()
  }

  readonly end = (): void => {
    this.ended = true
    for (const page of [...this.pages, ...(this.successors?.pages ?? [])]) page.observed.end()
  }

  private watch(after: string | null, until: string | null): Watched {
    const payload = this.options.payload({ size: this.options.size, after, until })
    const observed = this.client.observe(this.tag as never, payload as never, () => this.update())
    return { after, until, observed: observed as Observed<Page.Of<unknown>, unknown> }
  }

  private update(): void {
    if (this.ended || this.pages.length === 0) return
    this.succeed()
    const pages = this.pages.map(({ observed }) => observed.live())
    const values = pages.map(({ value }) => value)
    const last = this.pages.at(-1)!
    const failure = this.pages.map(({ observed }) => observed.failure()).find(Option.isSome)
    this.shown.set({
      items: values.flatMap((value) => (Option.isSome(value) ? value.value.items : [])),
      // A page without an end of its own may be about to get one.
      hasMore: last.until !== null,
      isLoading: failure === undefined && values.some(Option.isNone),
      connection: pages[0]!.connection,
      failure: failure ?? Option.none()
    })
  }

  /** Puts successors in their places when they have come, and asks for those that are needed next. */
  private succeed(): void {
    const { successors } = this
    if (successors !== undefined) {
      if (!successors.pages.every(({ observed }) => Option.isSome(observed.live().value))) return
      this.pages = this.pages.flatMap((page) => (page === successors.of ? successors.pages : [page]))
      this.successors = undefined
      successors.of.observed.end()
    }
    for (const page of this.pages) {
      const { value } = page.observed.live()
      if (Option.isNone(value)) continue
      const { next, split } = value.value
      if (page.until === null && next !== null) return this.replace(page, [[page.after, next]])
      if (page.until !== null && split !== null && split !== page.until) {
        return this.replace(page, [
          [page.after, split],
          [split, page.until]
        ])
      }
    }
  }

  private replace(of: Watched, places: ReadonlyArray<readonly [after: string | null, until: string]>): void {
    this.successors = { of, pages: [] }
    this.successors = { of, pages: places.map(([after, until]) => this.watch(after, until)) }
  }
}
