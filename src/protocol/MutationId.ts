/**
 * Request header: `<client>/<number>`. A mutation that is sent again with the same id is answered with its first outcome
 * and not run again.
 */
export const mutationHeader = "dormouse-mutation"

/** Milliseconds for which the outcome of a numbered mutation is kept: a day. */
export const mutationRetention = 24 * 60 * 60 * 1000

export interface MutationId {
  /** An id that no other client has: 8 to 64 letters, digits and hyphens. */
  readonly client: string
  readonly number: number
}

export const formatMutationId = ({ client, number }: MutationId): string => `${client}/${number}`

/** `undefined` when the header is not of that form. */
export const parseMutationId = (header: string): MutationId | undefined => {
  const match = /^([A-Za-z0-9-]{8,64})\/(\d{1,15})$/.exec(header)
  return match === null ? undefined : { client: match[1]!, number: Number(match[2]) }
}
