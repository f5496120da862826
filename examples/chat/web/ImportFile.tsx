import { type ChangeEvent, type FormEvent, useId, useState } from "react"
import { maxLines } from "../imports/api.ts"
import { type Lines, readLines } from "../imports/lines.ts"
import type { Channel } from "../schema.ts"
import { useMutation } from "./client.ts"
import { Dialog } from "./Dialog.tsx"
import { Icon } from "./Icon.tsx"
import { PendingLine } from "./Pending.tsx"

/** The button that imports messages of another chat from a file. */
export const ImportFile = ({ channel }: { readonly channel: Channel }) => {
  const [isOpen, open] = useState(false)
  return (
    <>
      <button
        type="button"
        className="quiet"
        aria-label="Import messages"
        title="Import messages"
        onClick={() => open(true)}
      >
        <Icon name="file" />
      </button>
      <Dialog title={`Import into ${channel.name}`} isOpen={isOpen} onClose={() => open(false)}>
        <Choose channel={channel} onBegun={() => open(false)} />
      </Dialog>
    </>
  )
}

interface Chosen extends Lines {
  readonly file: string
}

interface Props {
  readonly channel: Channel
  readonly onBegun: () => void
}

const Choose = ({ channel, onBegun }: Props) => {
  const [chosen, setChosen] = useState<Chosen>()
  const [problem, setProblem] = useState("")
  const [begin, isPending] = useMutation("imports.begin")
  const [field, hint] = [useId(), useId()]
  const choose = async ({ target: { files } }: ChangeEvent<HTMLInputElement>) => {
    const file = files?.[0]
    setProblem("")
    setChosen(file && { file: file.name, ...readLines(file.name, await file.text()) })
  }
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    if (chosen === undefined) return
    const { broken, file, lines } = chosen
    const outcome = await begin({ channel: channel.id, file, lines, broken: broken.length }).catch(() => undefined)
    if (outcome?._tag === "Success") onBegun()
    else setProblem("The import did not start. The file may be too large.")
  }
  const isEmpty = chosen === undefined || chosen.lines.length === 0 || chosen.lines.length > maxLines
  return (
    <form className="fields" onSubmit={submit}>
      <label htmlFor={field}>File</label>
      <input id={field} type="file" accept=".txt,.csv,.json,.jsonl,.ndjson" aria-describedby={hint} onChange={choose} />
      <p id={hint} className="note">
        Each line is a message: <code>name: text</code>, CSV with name and text, or JSON with <code>name</code> and{" "}
        <code>text</code>. Messages without a time are placed above the ones that are here.
      </p>
      <p role="status">{chosen && summaryOf(chosen)}</p>
      <p className="problem" role="alert">
        {problem}
      </p>
      <button type="submit" className="primary" disabled={isEmpty || isPending}>
        Import
      </button>
      <PendingLine isPending={isPending} doing="Importing…" />
    </form>
  )
}

const summaryOf = ({ broken, lines }: Lines): string => {
  const found = `${lines.length.toLocaleString()} messages.`
  if (lines.length > maxLines) return `${found} An import has at most ${maxLines.toLocaleString()}.`
  if (broken.length === 0) return found
  const numbers = broken.slice(0, 5).join(", ") + (broken.length > 5 ? ", …" : "")
  return `${found} Left out, because they cannot be read: line ${numbers}.`
}
