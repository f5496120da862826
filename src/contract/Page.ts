import * as Schema from "effect/Schema"

/**
 * The payload of a query of pages, to be spread into its fields and handed to `query.page`:
 *
 * `Query.make("messages.page", { payload: { channel: ChannelId, ...Page.Fields }, success: Page.Page(Message) })`
 */
export const Fields = {
  /** How many rows a page begins with. */
  size: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 })),
  /** Where the page begins, or `null` for the beginning. */
  after: Schema.NullOr(Schema.String),
  /** Where the page ends, or `null` while nobody has fixed its end. */
  until: Schema.NullOr(Schema.String)
} as const

/** A page of items, the place where the next begins, and a place to split it at when it outgrew its size. */
export const Page = <S extends Schema.Top>(item: S) =>
  Schema.Struct({ items: Schema.Array(item), next: Schema.NullOr(Schema.String), split: Schema.NullOr(Schema.String) })

export interface Request {
  readonly size: number
  readonly after: string | null
  readonly until: string | null
}

export interface Of<A> {
  readonly items: ReadonlyArray<A>
  readonly next: string | null
  readonly split: string | null
}
