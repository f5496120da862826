import type * as DateTime from "effect/DateTime"
import { useEffect, useRef, useState } from "react"
import type { Shown } from "../attachments/api.ts"
import type { ChannelId, MessageId } from "../schema.ts"
import { useLive } from "./client.ts"
import { Icon } from "./Icon.tsx"
import { sizeOf } from "./uploading.ts"

/** The files of messages. */
export type ByMessage = ReadonlyMap<MessageId, ReadonlyArray<Shown>>

/** The files of a channel's messages from a time on, from the first message unless given. */
export const useAttachments = (channel: ChannelId, since: DateTime.Utc | null): ByMessage => {
  const { value } = useLive("attachments.list", { channel, since, hour: useHour() })
  const last = useRef<ByMessage>(new Map())
  const shown = useRef<ReadonlyArray<Shown>>(undefined)
  // While older ones are loaded, or new URLs, the page goes on to show what it has.
  if (value !== undefined && value !== shown.current) {
    shown.current = value
    last.current = Map.groupBy(value, ({ message }) => message)
  }
  return last.current
}

const hour = 3_600_000
const hourNow = () => Math.floor(Date.now() / hour)

/** The hours since 1970. URLs are valid for an hour at least after the query has run. */
const useHour = (): number => {
  const [now, set] = useState(hourNow)
  useEffect(() => {
    const timer = setInterval(() => set(hourNow()), 60_000)
    return () => clearInterval(timer)
  }, [])
  return now
}

/** The files of a message. Until they are known, a line says how many there are. */
export const Attachments = ({ count, files }: { readonly count: number; readonly files: ReadonlyArray<Shown> }) =>
  files.length === 0 ? (
    <p className="state">{countOf(count)}</p>
  ) : (
    <ul className="attachments" aria-label="Files">
      {files.map((file) => (
        <li key={file.id}>{file.type.startsWith("image/") ? <Picture {...file} /> : <Card {...file} />}</li>
      ))}
    </ul>
  )

/** How many files a message has. */
export const countOf = (files: number): string => (files === 1 ? "1 file" : `${files} files`)

const Picture = (file: Shown) => {
  const { name, url } = file
  // A picture that is shown is not loaded again from its next URL.
  const [loaded, setLoaded] = useState<string>()
  const [broken, setBroken] = useState<string>()
  if (broken === url) return <Card {...file} />
  return (
    <a className="picture" href={url} target="_blank" rel="noreferrer noopener" title={name}>
      <img
        src={loaded ?? url}
        alt={name}
        loading="lazy"
        onLoad={() => setLoaded(loaded ?? url)}
        onError={() => setBroken(url)}
      />
    </a>
  )
}

const Card = ({ bytes, name, url }: Shown) => (
  <a className="file" href={url} download={name}>
    <Icon name="page" />
    <span className="excerpt">{name}</span>
    <span className="note">{sizeOf(bytes)}</span>
  </a>
)
