import { type KeyboardEvent, type Ref, useState } from "react"
import { Icon } from "./Icon.tsx"

interface Props {
  readonly field: Ref<HTMLTextAreaElement>
  readonly channel: string
  readonly author: string
  readonly onSend: (body: string) => void
}

/** The field in which a message is written. Enter sends it. */
export const Composer = ({ author, channel, field, onSend }: Props) => {
  const [text, setText] = useState("")
  const body = text.trim()
  const send = () => {
    if (body === "") return
    onSend(body)
    setText("")
  }
  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    if (event.key === "Escape") return event.currentTarget.blur()
    // While an input method composes a word, Enter accepts the word.
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return
    event.preventDefault()
    send()
  }
  return (
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
          onChange={(event) => setText(event.target.value)}
          onKeyDown={onKeyDown}
        />
        <button type="submit" className="send" aria-label="Send" disabled={body === ""}>
          <Icon name="send" />
        </button>
      </div>
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
    </form>
  )
}
