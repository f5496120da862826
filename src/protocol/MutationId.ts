/**
 * The ids of mutations, by which the server recognizes a mutation that is sent again.
 * It then answers with the first outcome and does not run the mutation again.
 */

/** The request header with the id of a mutation: `<client>/<number>`. */
export const mutationHeader = "dormouse-mutation"

/** Milliseconds for which the server keeps the outcome of a mutation with an id: a day. */
export const mutationRetention = 24 * 60 * 60 * 1000

/** The id of one call of a mutation. */
export interface MutationId {
  /** An id that no other client has: 8 to 64 letters, digits and hyphens. */
  readonly client: string
  /** Counts the mutations of the client. */
  readonly number: number
}

/** The value of the header. */
export const formatMutationId = ({ client, number }: MutationId): string => `${client}/${number}`

/** Parses the header. `undefined` when it is malformed. */
export const parseMutationId = (header: string): MutationId | undefined => {
  const match = /^([A-Za-z0-9-]{8,64})\/(\d{1,15})$/.exec(header)
  return match === null ? undefined : { client: match[1]!, number: Number(match[2]) }
}
