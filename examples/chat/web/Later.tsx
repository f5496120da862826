import { type FormEvent, useId, useState } from "react"
import { Dialog } from "./Dialog.tsx"
import { PendingLine } from "./Pending.tsx"
import { Time } from "./Time.tsx"
import { laterTimes, soonOf, toField } from "./times.ts"

interface Props {
  readonly isOpen: boolean
  readonly onClose: () => void
  /** Gets the time in milliseconds. Returns whether the server accepted it. */
  readonly onChoose: (at: number) => Promise<boolean>
}

/** The dialog in which the time of a message is chosen. */
export const Later = (props: Props) => (
  <Dialog title="Send later" isOpen={props.isOpen} onClose={props.onClose}>
    <Times {...props} />
  </Dialog>
)

const Times = ({ onChoose, onClose }: Props) => {
  const [now] = useState(Date.now)
  const [own, setOwn] = useState(() => toField(now + 3_600_000))
  const [problem, setProblem] = useState("")
  const [isPending, setPending] = useState(false)
  const field = useId()
  const choose = async (at: number) => {
    setPending(true)
    const isAccepted = await onChoose(at)
    setPending(false)
    if (isAccepted) onClose()
    else setProblem("The message could not be scheduled. Try again.")
  }
  const submit = (event: FormEvent) => {
    event.preventDefault()
    const at = new Date(own).getTime()
    if (at > Date.now()) choose(at)
    else setProblem("Choose a time in the future.")
  }
  return (
    <form className="fields" onSubmit={submit}>
      <ul className="times">
        {laterTimes(now).map(([label, at]) => (
          <li key={label}>
            <button type="button" className="plain" disabled={isPending} onClick={() => choose(at)}>
              {label}
              <Time at={at} className="note">
                {soonOf(at, now)}
              </Time>
            </button>
          </li>
        ))}
      </ul>
      <label htmlFor={field}>Or at a time of your own</label>
      <input
        id={field}
        type="datetime-local"
        required
        value={own}
        min={toField(now)}
        onChange={(event) => {
          setOwn(event.target.value)
          setProblem("")
        }}
      />
      <button type="submit" className="primary" disabled={isPending}>
        Schedule
      </button>
      <p className="problem" role="alert">
        {problem}
      </p>
      <PendingLine isPending={isPending} doing="Scheduling…" />
    </form>
  )
}
