/**
 * The ids of mutations, by which the server recognizes a mutation that is sent again.
 * It then answers with the first outcome and does not run the mutation again.
 */

/** The request header with the id of a mutation: `<client>/<number>`, or `<client>/<number>/<below>`. */
export const mutationHeader = "dormouse-mutation"

/** Milliseconds for which the server keeps the outcome of a mutation with an id: a day. */
export const mutationRetention = 24 * 60 * 60 * 1000

/**
 * Milliseconds before the end of that time at which a mutation is not sent again, or not run: a message takes time to
 * arrive, and clocks of servers differ a little.
 */
export const mutationMargin = 60_000

/**
 * The request header with a time of the server, in milliseconds, before which the mutation was certainly not sent. The
 * server then runs nothing whose outcome it may have deleted, whatever clock the client has.
 */
export const sentAfterHeader = "dormouse-sent-after"

/** The path at which the server says what time it is, in milliseconds since the epoch. */
export const timePath = "/rpc/time"

/** The id of one call of a mutation. */
export interface MutationId {
  /** An id that no other client has: 8 to 64 letters, digits and hyphens. */
  readonly client: string
  /** Counts the mutations of the client. */
  readonly number: number
  /** The client has settled every number below this one: it needs no outcome of them, and never sends them again. */
  readonly below: number
}

/** The value of the header. */
export const formatMutationId = ({ below, client, number }: MutationId): string => `${client}/${number}/${below}`

/** Parses the header. `undefined` when it is malformed. */
export const parseMutationId = (header: string): MutationId | undefined => {
  const match = /^([A-Za-z0-9-]{8,64})\/(\d{1,15})(?:\/(\d{1,15}))?$/.exec(header)
  if (match === null) return undefined
  const [number, below] = [Number(match[2]), Number(match[3] ?? 0)]
  // A mutation that is sent is not settled.
  return below > number ? undefined : { client: match[1]!, number, below }
}

/** Parses the header `sentAfterHeader`. `undefined` when it is malformed. */
export const parseSentAfter = (header: string): number | undefined =>
  /^\d{1,15}$/.test(header) ? Number(header) : undefined
