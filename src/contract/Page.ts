/**
 * The payload fields and the success schema of a paged query.
 * A handler passes the fields to `query.page`; a client reads the pages with `Pages`.
 */
import * as Schema from "effect/Schema"

/**
 * The payload fields of a paged query. Spread them into its payload and pass them to `query.page`:
 *
 * `Query.make("messages.page", { payload: { channel: ChannelId, ...Page.Fields }, success: Page.Page(Message) })`
 */
export const Fields = {
  /** How many rows a new page has at most. */
  size: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 })),
  /** The cursor after which the page begins, or `null` for the first page. */
  after: Schema.NullOr(Schema.String),
  /** The cursor at which the page ends, or `null` while its end is not fixed. */
  until: Schema.NullOr(Schema.String)
} as const

/** A page of items: the cursor of the next page, and a cursor to split the page at when it outgrew its size. */
export const Page = <S extends Schema.Top>(item: S) =>
  Schema.Struct({ items: Schema.Array(item), next: Schema.NullOr(Schema.String), split: Schema.NullOr(Schema.String) })

/** The values of `Fields`: which page a client requests. */
export interface Request {
  readonly size: number
  readonly after: string | null
  readonly until: string | null
}

/** A value of `Page`. */
export interface Of<A> {
  readonly items: ReadonlyArray<A>
  /** The cursor of the next page, or `null` on the last page. */
  readonly next: string | null
  /** A cursor in the middle of a page with a fixed end that grew to more than twice its size, or `null`. */
  readonly split: string | null
}
