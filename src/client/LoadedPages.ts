/**
 * The live queries behind a list of pages: one for each loaded page, from a start cursor to an end cursor.
 * A page is replaced only when its successors have their values, so that the list never has a gap.
 */
import type * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import type * as Page from "../contract/Page.ts"
import type { Observed } from "./ClientTypes.ts"
import { ConnectionState } from "./ConnectionState.ts"
import { Observable } from "./Observable.ts"
import type { UntypedClient } from "./UntypedClient.ts"

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

/** Which pages of which rows. */
export interface PagesOptions<Payload> {
  /** How many rows a page begins with: 1 to 1000. */
  readonly size: number
  /** Makes the payload of one page: the filters, and the fields of the requested page. */
  readonly payload: (page: Page.Request) => Payload
}

/** One page: its cursors, and its live query. `until` is `null` while the end of the page is not fixed. */
interface Watched<A> {
  readonly after: string | null
  readonly until: string | null
  readonly observed: Observed<Page.Of<A>, unknown>
}

/** The implementation of `Pages`, for any contract. */
export class LoadedPages<A> implements Pages<A> {
  private readonly client: Pick<UntypedClient, "observe">
  private readonly tag: string
  private readonly options: PagesOptions<unknown>
  private readonly shown: Observable<PagesState<A>>
  private pages: ReadonlyArray<Watched<A>>
  /** The pages that replace the page `of` once all of them have a value. */
  private successors: { readonly of: Watched<A>; readonly pages: ReadonlyArray<Watched<A>> } | undefined
  private ended = false

  constructor(client: Pick<UntypedClient, "observe">, tag: string, options: PagesOptions<unknown>) {
    this.client = client
    this.tag = tag
    this.options = options
    this.shown = new Observable<PagesState<A>>({
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

  readonly state = (): PagesState<A> => this.shown.value
  /** The version of the first page; 0 before it is there. */
  readonly version = (): number => this.pages[0]?.observed.live().version ?? 0
  readonly listen = (listener: (state: PagesState<A>) => void) => this.shown.listen(listener)
  get changes(): Stream.Stream<PagesState<A>> {
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

  private watch(after: string | null, until: string | null): Watched<A> {
    const payload = this.options.payload({ size: this.options.size, after, until })
    return { after, until, observed: this.client.observe(this.tag, payload, () => this.update()) }
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
      // The end of a page without an end cursor is not known yet: whether more follows is not, either.
      hasMore: last.until !== null,
      isLoading: failure === undefined && values.some(Option.isNone),
      connection: pages[0]!.connection,
      failure: failure ?? Option.none()
    })
  }

  /** Replaces pages by their successors as far as these have values, and starts the successors that are needed next. */
  private succeed(): void {
    do {
      const { successors } = this
      if (successors === undefined) continue
      if (!successors.pages.every(({ observed }) => Option.isSome(observed.live().value))) return
      this.pages = this.pages.flatMap((page) => (page === successors.of ? successors.pages : [page]))
      this.successors = undefined
      successors.of.observed.end()
      // Successors that another list watches have their values at once: no event will follow for them.
    } while (this.startSuccessors())
  }

  /** Starts the successors of the first page that needs them. Returns whether there is one. */
  private startSuccessors(): boolean {
    for (const page of this.pages) {
      const { value } = page.observed.live()
      if (Option.isNone(value)) continue
      const { next, split } = value.value
      if (page.until === null && next !== null) {
        this.replace(page, [[page.after, next]])
        return true
      }
      if (page.until !== null && split !== null && split !== page.until) {
        this.replace(page, [
          [page.after, split],
          [split, page.until]
        ])
        return true
      }
    }
    return false
  }

  private replace(of: Watched<A>, ranges: ReadonlyArray<readonly [after: string | null, until: string]>): void {
    this.successors = { of, pages: [] }
    this.successors = { of, pages: ranges.map(([after, until]) => this.watch(after, until)) }
  }
}
