/** A message's text, with its links. */
export const Text = ({ text }: { readonly text: string }) =>
  text.split(link).map((part, i) =>
    i % 2 === 0 ? (
      part
    ) : (
      // biome-ignore lint/suspicious/noArrayIndexKey: the parts of a text do not move
      <a key={i} href={part} target="_blank" rel="noreferrer noopener">
        {part}
      </a>
    )
  )

/** Nothing but the web: no other scheme is made a link. */
const link = /(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]'])/
