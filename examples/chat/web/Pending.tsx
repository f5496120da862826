import { Icon } from "./Icon.tsx"
import { useWaitsFor, wordsOf, wordsOfAll } from "./patience.ts"

/**
 * The mark of a message that the server has not answered. Its place is there from the beginning, beside the text, so that
 * nothing moves when it appears.
 */
export const PendingMark = ({ doing }: { readonly doing: string }) => {
  const words = wordsOf(useWaitsFor(true), doing)
  return (
    <span className="pending" title={words}>
      {words !== "" && (
        <>
          <Icon name="clock" />
          <span className="hidden">{words}</span>
        </>
      )}
    </span>
  )
}

interface LineProps {
  readonly isPending: boolean
  readonly doing: string
}

/** A line that says what a form waits for. It is there when it waits for nothing, so that the form does not jump. */
export const PendingLine = ({ doing, isPending }: LineProps) => (
  <p className="pending-line" role="status">
    {wordsOf(useWaitsFor(isPending), doing)}
  </p>
)

interface AllProps {
  readonly messages: number
  readonly changes: number
}

/** What the user's messages and changes wait for. */
export const PendingAll = ({ changes, messages }: AllProps) => (
  <p className="sending" role="status" aria-label="Sending">
    {wordsOfAll(useWaitsFor(messages + changes > 0), messages, changes)}
  </p>
)
