import { maxBody } from "../schema.ts"

/** By how many characters a text is too long for a message. */
export const excessOf = (body: string): number => Math.max(0, body.length - maxBody)

/** Why a text is not sent, in a few words. */
export const tooLong = (excess: number): string => `Too long by ${number(excess)} ${characters(excess)}`

/** From this length on, a user is told how much is left. */
const near = maxBody * 0.9

/** How long a text is, if that is near the limit, and what to do with one that is longer: nothing of it is cut. */
export const Length = ({ body, id }: { readonly id: string; readonly body: string }) => {
  const excess = excessOf(body)
  return (
    <>
      <p id={id} className="length" data-long={excess > 0 || undefined}>
        {excess > 0
          ? `${number(body.length)} of ${number(maxBody)} characters. Remove ${number(excess)}, or send it in parts.`
          : body.length >= near && `${number(maxBody - body.length)} ${characters(maxBody - body.length)} left`}
      </p>
      {/* Apart from the count, which would be read out again with every key. */}
      <span className="hidden" role="alert">
        {excess > 0 && "The message is too long."}
      </span>
    </>
  )
}

const number = (value: number): string => value.toLocaleString()
const characters = (count: number): string => (count === 1 ? "character" : "characters")
