import { type ClipboardEvent, type KeyboardEvent, type Ref, useEffect, useEffectEvent, useState } from "react"
import type { Lifetime } from "../schema.ts"
import { Choose, Chosen } from "./Chosen.tsx"
import { Icon } from "./Icon.tsx"
import { Later } from "./Later.tsx"
import { excessOf, Length, tooLong } from "./Length.tsx"
import type { Words } from "./sending.ts"
import type { Uploading } from "./uploading.ts"

interface Props {
  readonly field: Ref<HTMLTextAreaElement>
  readonly channel: string
  readonly author: string
  /** The files that are sent with the message. */
  readonly uploads: Uploading
  /** The text has changed; it is without the space around it. */
  readonly onType: (text: string) => void
  readonly onSend: (words: Words) => void
  /** Gets a time in milliseconds. Returns whether the server accepted it. */
  readonly onLater: (words: Words, at: number) => Promise<boolean>
  /** Opens the user's last message to change it. Returns whether there is one. */
  readonly onEditLast: () => boolean
}

/** The field in which a message is written. Enter sends it. */
export const Composer = ({ author, channel, field, onEditLast, onLater, onSend, onType, uploads }: Props) => {
  const [text, setText] = useState("")
  const [lifetime, setLifetime] = useState<Lifetime>()
  const [isLaterOpen, openLater] = useState(false)
  const body = text.trim()
  const change = (text: string) => {
    setText(text)
    onType(text.trim())
  }
  const words: Words = { body, ...(lifetime !== undefined && { lifetime }) }
  const [isWaiting, wait] = useState(false)
  const isUploading = uploads.files.some(({ state }) => state === "uploading")
  const hasFailed = uploads.files.some(({ state }) => state === "failed")
  const files = uploads.files.flatMap(({ attachment }) => (attachment === undefined ? [] : [attachment]))
  const isEmpty = body === "" && files.length === 0
  const excess = excessOf(body)
  const send = () => {
    if (excess > 0) return document.getElementById("write")?.focus()
    if (isUploading) return wait(true)
    if (isEmpty) return
    onSend(files.length === 0 ? words : { ...words, files })
    uploads.sent()
    change("")
  }
  const sendIfReady = useEffectEvent(() => {
    wait(false)
    if (!hasFailed) send()
  })
  useEffect(() => {
    if (isWaiting && !isUploading) sendIfReady()
  }, [isWaiting, isUploading])
  const paste = (event: ClipboardEvent) => {
    if (event.clipboardData.files.length === 0) return
    event.preventDefault()
    uploads.add([...event.clipboardData.files])
  }
  const later = async (at: number) => {
    const isAccepted = await onLater(words, at)
    if (isAccepted) change("")
    return isAccepted
  }
  const closeLater = () => {
    openLater(false)
    // The button that opened it is disabled when there is no text any more.
    document.getElementById("write")?.focus()
  }
  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    if (event.key === "Escape") return event.currentTarget.blur()
    // With Alt it goes to the previous channel.
    if (event.key === "ArrowUp" && !event.altKey && text === "" && onEditLast()) return event.preventDefault()
    // While an input method composes a word, Enter accepts the word.
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return
    event.preventDefault()
    send()
  }
  return (
    <>
      <form
        className="composer"
        onSubmit={(event) => {
          event.preventDefault()
          send()
        }}
      >
        <Chosen uploads={uploads} />
        <p className="state waits" role="status">
          {isWaiting && (
            <>
              The message is sent when its files are uploaded.{" "}
              <button type="button" className="plain" onClick={() => wait(false)}>
                Cancel
              </button>
            </>
          )}
        </p>
        <div className="box">
          <Choose uploads={uploads} />
          <textarea
            ref={field}
            id="write"
            rows={1}
            value={text}
            placeholder={`Message #${channel}`}
            aria-label={`Message to #${channel}, as ${author}`}
            aria-describedby="write-length write-hint"
            aria-invalid={excess > 0}
            enterKeyHint="send"
            onChange={(event) => change(event.target.value)}
            onKeyDown={onKeyDown}
            onPaste={paste}
          />
          <button
            type="button"
            className="quiet"
            aria-label="Send later"
            title={uploads.files.length === 0 ? "Send later" : "Files cannot be sent later"}
            disabled={body === "" || excess > 0 || uploads.files.length > 0}
            onClick={() => openLater(true)}
          >
            <Icon name="clock" />
          </button>
          <button
            type="submit"
            className="send"
            aria-label="Send"
            aria-disabled={excess > 0}
            aria-describedby="write-length"
            title={excess > 0 ? tooLong(excess) : "Send"}
            disabled={isEmpty && !isUploading}
          >
            <Icon name="send" />
          </button>
        </div>
        <Length id="write-length" body={body} />
        <div className="below">
          <LifetimeField lifetime={lifetime} onChange={setLifetime} />
          <Hint />
        </div>
      </form>
      <Later isOpen={isLaterOpen} onClose={closeLater} onChoose={later} />
    </>
  )
}

const lifetimes: ReadonlyArray<Lifetime> = ["1 minute", "1 hour", "1 day"]

interface LifetimeProps {
  readonly lifetime: Lifetime | undefined
  readonly onChange: (lifetime: Lifetime | undefined) => void
}

/** How long the messages stay that are written from now on. */
const LifetimeField = ({ lifetime, onChange }: LifetimeProps) => (
  <label className="lifetime" data-set={lifetime}>
    Disappears
    <select
      value={lifetime ?? ""}
      onChange={(event) => onChange(lifetimes.find((lifetime) => lifetime === event.target.value))}
    >
      <option value="">never</option>
      {lifetimes.map((lifetime) => (
        <option key={lifetime} value={lifetime}>
          after {lifetime}
        </option>
      ))}
    </select>
  </label>
)

const Hint = () => (
  <p id="write-hint" className="hint">
    <span>
      <kbd>Enter</kbd> sends
    </span>
    <span>
      <kbd>Shift</kbd>
      <kbd>Enter</kbd> new line
    </span>
    <span>
      <kbd>Esc</kbd>
      <kbd>?</kbd> all shortcuts
    </span>
  </p>
)
