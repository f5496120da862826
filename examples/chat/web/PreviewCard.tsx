import type { Preview } from "../schema.ts"

/** What is shown of a page that a message links to. */
export const PreviewCard = ({ description, title, url }: Preview) => (
  <a className="preview" href={url} target="_blank" rel="noreferrer noopener" aria-label={`Preview: ${title}`}>
    <span className="note">{new URL(url).host}</span>
    <strong>{title}</strong>
    {description !== undefined && <span className="description">{description}</span>}
  </a>
)
