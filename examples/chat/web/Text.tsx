import { link } from "../links.ts"

/** The text of a message. Its URLs become links. */
export const Text = ({ text }: { readonly text: string }) =>
  text.split(link).map((part, i) =>
    i % 2 === 0 ? (
      part
    ) : (
      // biome-ignore lint/suspicious/noArrayIndexKey: the parts of a text have a fixed order
      <a key={i} href={part} target="_blank" rel="noreferrer noopener">
        {part}
      </a>
    )
  )
