import { type FormEvent, type Ref, useState } from "react"
import { useMutation } from "./client.ts"
import { Icon } from "./Icon.tsx"
import { placeOf, visit } from "./location.ts"
import { nameFrom } from "./names.ts"
import { useWaitsFor, wordsOf } from "./patience.ts"

/** The field that creates a channel, and goes to it. */
export const NewChannel = ({ field }: { readonly field: Ref<HTMLInputElement> }) => {
  const [text, setText] = useState("")
  const [isPrivate, setPrivate] = useState(false)
  const [problem, setProblem] = useState("")
  const [create, isPending] = useMutation("channels.create")
  const waiting = wordsOf(useWaitsFor(isPending), "Creating…")
  const name = nameFrom(text)
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    if (name === "" || isPending) return
    const outcome = await create({ name, access: isPrivate ? "private" : "public" }).catch(() => undefined)
    if (outcome?._tag === "Success") {
      setText("")
      setPrivate(false)
      visit(placeOf(outcome.value))
    } else if (outcome?.error._tag === "ChannelExists") setProblem(`#${name} exists already.`)
    else setProblem("The channel could not be created. Try again.")
  }
  // Names have no spaces and no capital letters: what the typed text becomes is said before.
  const note = name !== "" && name !== text ? `It will be ${isPrivate ? "" : "#"}${name}` : ""
  return (
    <form className="field new" onSubmit={submit}>
      <label htmlFor="new-channel">New channel</label>
      <div className="line">
        <input
          ref={field}
          id="new-channel"
          value={text}
          aria-label="Name of a new channel"
          aria-describedby="new-channel-note"
          autoComplete="off"
          autoCapitalize="none"
          onChange={(event) => {
            setText(event.target.value)
            setProblem("")
          }}
          onKeyDown={(event) => {
            if (event.key !== "Escape") return
            setText("")
            event.currentTarget.blur()
          }}
        />
        <label className="lock" title="Private: only its members see it">
          <input
            type="checkbox"
            aria-label="Private"
            checked={isPrivate}
            onChange={(event) => setPrivate(event.target.checked)}
          />
          <Icon name="lock" />
        </label>
        <button
          type="submit"
          className="quiet"
          aria-label="Create the channel"
          title="Create"
          disabled={name === "" || isPending}
        >
          <Icon name="plus" />
        </button>
      </div>
      <p id="new-channel-note" className="note" role="status">
        {problem || waiting || note}
      </p>
    </form>
  )
}
