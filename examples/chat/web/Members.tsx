import { type FormEvent, useId, useState } from "react"
import type { Caller } from "../api.ts"
import type { Channel, Member } from "../schema.ts"
import { useLive, useMutation } from "./client.ts"
import { Dialog } from "./Dialog.tsx"
import { Face } from "./Face.tsx"
import { Icon } from "./Icon.tsx"
import { PendingLine } from "./Pending.tsx"

interface Props {
  readonly channel: Channel
  readonly me: Caller
}

/** The button that opens the members of a private channel. */
export const Members = (props: Props) => {
  const [isOpen, open] = useState(false)
  return (
    <>
      <button type="button" className="quiet" onClick={() => open(true)} aria-label="Members" title="Members">
        <Icon name="people" />
      </button>
      <Dialog title={`Members of ${props.channel.name}`} isOpen={isOpen} onClose={() => open(false)}>
        <List {...props} />
        <Invite channel={props.channel} />
      </Dialog>
    </>
  )
}

const List = ({ channel, me }: Props) => {
  const { value: members } = useLive("members.list", { channel: channel.id })
  const isOwner = channel.owner === me.id
  return (
    <ul className="members">
      {members?.map((member) => (
        <Item key={member.id} member={member} isMe={member.person === me.id} isOwner={isOwner} />
      ))}
    </ul>
  )
}

interface ItemProps {
  readonly member: Member
  readonly isMe: boolean
  readonly isOwner: boolean
}

/** A member. The owner of the channel can remove the others, who can leave. */
const Item = ({ isMe, isOwner, member: { channel, name, person } }: ItemProps) => {
  const [remove, isPending] = useMutation("members.remove")
  return (
    <li>
      <Face id={person} name={name} />
      <span className="author">{name}</span>
      {isMe && <span className="me">you</span>}
      {isMe !== isOwner && (
        <button
          type="button"
          className="plain"
          aria-label={isMe ? "Leave" : `Remove ${name}`}
          disabled={isPending}
          onClick={() => remove({ channel, person }).catch(() => undefined)}
        >
          {isMe ? "Leave" : "Remove"}
        </button>
      )}
    </li>
  )
}

const Invite = ({ channel }: { readonly channel: Channel }) => {
  const [name, setName] = useState("")
  const [problem, setProblem] = useState("")
  const [invite, isPending] = useMutation("members.invite")
  const field = useId()
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    const outcome = await invite({ channel: channel.id, name: name.trim() }).catch(() => undefined)
    if (outcome?._tag === "Success") setName("")
    else if (outcome?.error._tag === "PersonNotFound") setProblem(`Nobody here is called ${name.trim()}.`)
    else setProblem(name.length > 60 ? "Nobody has a name that long." : "The invitation failed. Try again.")
  }
  return (
    <form className="fields" onSubmit={submit}>
      <label htmlFor={field}>Invite by name</label>
      <div className="line">
        <input
          id={field}
          value={name}
          autoComplete="off"
          onChange={(event) => {
            setName(event.target.value)
            setProblem("")
          }}
        />
        <button type="submit" className="primary" disabled={name.trim() === "" || isPending}>
          Invite
        </button>
      </div>
      <p className="problem" role="alert">
        {problem}
      </p>
      <PendingLine isPending={isPending} doing="Inviting…" />
    </form>
  )
}
