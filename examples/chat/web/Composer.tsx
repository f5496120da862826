import { type KeyboardEvent, type Ref, useState } from "react"
import type { Lifetime } from "../schema.ts"
import { Icon } from "./Icon.tsx"
import { Later } from "./Later.tsx"
import type { Words } from "./sending.ts"

interface Props {
  readonly field: Ref<HTMLTextAreaElement>
  readonly channel: string
  readonly author: string
  /** The text has changed; it is without the space around it. */
  readonly onType: (text: string) => void
  readonly onSend: (words: Words) => void
  /** Gets a time in milliseconds. Returns whether the server accepted it. */
  readonly onLater: (words: Words, at: number) => Promise<boolean>
}

/** The field in which a message is written. Enter sends it. */
export const Composer = ({ author, channel, field, onLater, onSend, onType }: Props) => {
  const [text, setText] = useState("")
  const [lifetime, setLifetime] = useState<Lifetime>()
  const [isLaterOpen, openLater] = useState(false)
  const body = text.trim()
  const change = (text: string) => {
    setText(text)
    onType(text.trim())
  }
  const words: Words = { body, ...(lifetime !== undefined && { lifetime }) }
  const send = () => {
    if (body === "") return
    onSend(words)
    change("")
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
        <div className="box">
          <textarea
            ref={field}
            id="write"
            rows={1}
            value={text}
            maxLength={4000}
            placeholder={`Message #${channel}`}
            aria-label={`Message to #${channel}, as ${author}`}
            aria-describedby="write-hint"
            enterKeyHint="send"
            onChange={(event) => change(event.target.value)}
            onKeyDown={onKeyDown}
          />
          <button
            type="button"
            className="quiet"
            aria-label="Send later"
            title="Send later"
            disabled={body === ""}
            onClick={() => openLater(true)}
          >
            <Icon name="clock" />
          </button>
          <button type="submit" className="send" aria-label="Send" disabled={body === ""}>
            <Icon name="send" />
          </button>
        </div>
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
