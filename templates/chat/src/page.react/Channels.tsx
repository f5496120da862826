import { type FormEvent, useState } from "react"
import type { Channel, ChannelId } from "../schema.ts"
import { useMutation } from "./client.ts"

interface Props {
  readonly channels: ReadonlyArray<Channel>
  readonly current: ChannelId | undefined
  readonly onChoose: (channel: ChannelId) => void
}

export const Channels = ({ channels, current, onChoose }: Props) => {
  const [name, setName] = useState("")
  const [problem, setProblem] = useState("")
  const [create, isPending] = useMutation("channels.create")
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    const outcome = await create({ name: name.trim() })
    if (outcome._tag === "Success") {
      setName("")
      setProblem("")
      onChoose(outcome.value.id)
    } else {
      setProblem(outcome.error._tag === "ChannelExists" ? `There is a channel ${name.trim()}.` : outcome.error.message)
    }
  }
  return (
    <nav>
      <ul className="channels">
        {channels.map(({ id, name }) => (
          <li key={id}>
            <button type="button" aria-current={id === current} onClick={() => onChoose(id)}>
              # {name}
            </button>
          </li>
        ))}
      </ul>
      <form onSubmit={submit}>
        <input
          aria-label="New channel"
          placeholder="New channel"
          maxLength={40}
          value={name}
          onChange={(event) => setName(event.target.value)}
        />
        <button type="submit" disabled={isPending || name.trim() === ""}>
          Create
        </button>
      </form>
      {problem !== "" && <p role="alert">{problem}</p>}
    </nav>
  )
}
