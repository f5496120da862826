import { type FormEvent, type Ref, useEffect, useId, useImperativeHandle, useRef, useState } from "react"
import type { Channel, ChannelId } from "../schema.ts"
import { useLive, useMutation } from "./client.ts"
import { Icon } from "./Icon.tsx"
import { addressOf, visit } from "./location.ts"
import { Mark } from "./Mark.tsx"
import { nameFrom } from "./names.ts"
import type { Settings, Theme } from "./settings.ts"

/** What other components can do with the list of channels. */
export interface ChannelsHandle {
  /** Focuses the field for a new channel. */
  readonly create: () => void
}

interface Props {
  readonly ref: Ref<ChannelsHandle>
  readonly channels: ReadonlyArray<Channel> | undefined
  readonly current: Channel | undefined
  readonly settings: Settings
  readonly onChange: (changes: Partial<Settings>) => void
  readonly onHelp: () => void
}

/** The side of the page: all channels, and the user's name and settings. */
export const Channels = ({ channels, current, onChange, onHelp, ref, settings }: Props) => {
  const field = useRef<HTMLInputElement>(null)
  const nameField = useId()
  useImperativeHandle(ref, () => ({ create: () => field.current?.focus() }))
  return (
    <aside className="side">
      <header className="brand">
        <Mark />
        <span>Dormouse chat</span>
      </header>
      <nav className="channels" aria-label="Channels">
        <h2>Channels</h2>
        <ul>
          {channels?.map(({ id, name }) => (
            <Item key={id} id={id} name={name} isCurrent={id === current?.id} />
          ))}
        </ul>
        {channels?.length === 0 && <p className="note">None yet.</p>}
        <NewChannel field={field} />
      </nav>
      <footer className="you">
        <label htmlFor={nameField}>You write as</label>
        <Name id={nameField} name={settings.name} onChange={(name) => onChange({ name })} />
        <div className="row">
          <ThemeSwitch theme={settings.theme} onChange={(theme) => onChange({ theme })} />
          <button
            type="button"
            className="quiet"
            onClick={onHelp}
            aria-label="Keyboard shortcuts"
            title="Shortcuts (?)"
          >
            <Icon name="keyboard" />
          </button>
        </div>
      </footer>
    </aside>
  )
}

interface ItemProps {
  readonly id: ChannelId
  readonly name: string
  readonly isCurrent: boolean
}

/** A channel, and whether it has messages that are newer than the last time it was current. */
const Item = ({ id, isCurrent, name }: ItemProps) => {
  const { value } = useLive("messages.list", { channel: id, limit: 1 })
  const newest = value && (value[0]?.id ?? "")
  const [seen, setSeen] = useState(newest)
  useEffect(() => {
    // Messages from before the page was opened are not new.
    if (isCurrent || seen === undefined) setSeen(newest)
  }, [isCurrent, newest, seen])
  const isUnread = !isCurrent && newest !== undefined && seen !== undefined && newest !== seen
  return (
    <li>
      <a
        href={addressOf(name)}
        aria-current={isCurrent ? "page" : undefined}
        data-unread={isUnread || undefined}
        aria-label={isUnread ? `${name}, new messages` : undefined}
      >
        <span className="hash" aria-hidden="true">
          #
        </span>
        {name}
      </a>
    </li>
  )
}

const NewChannel = ({ field }: { readonly field: Ref<HTMLInputElement> }) => {
  const [text, setText] = useState("")
  const [problem, setProblem] = useState("")
  const [create, isPending] = useMutation("channels.create")
  const name = nameFrom(text)
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    if (name === "") return
    const outcome = await create({ name }).catch(() => undefined)
    if (outcome?._tag === "Success" || outcome?.error._tag === "ChannelExists") {
      setText("")
      visit(name)
    } else setProblem("The channel could not be made.")
  }
  return (
    <form className="new" onSubmit={submit}>
      <input
        ref={field}
        value={text}
        maxLength={60}
        placeholder="New channel"
        aria-label="Name of a new channel"
        aria-describedby="new-channel"
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
      <button type="submit" className="quiet" aria-label="Create the channel" disabled={name === "" || isPending}>
        <Icon name="plus" />
      </button>
      <p id="new-channel" className="note" role="status">
        {problem !== "" ? problem : name !== "" && name !== text ? `It will be #${name}` : ""}
      </p>
    </form>
  )
}

interface NameProps {
  readonly id: string
  readonly name: string
  readonly onChange: (name: string) => void
}

/** The field for the user's name. Saves on blur and on Enter; an empty name restores the last one. */
const Name = ({ id, name, onChange }: NameProps) => {
  const [text, setText] = useState(name)
  const keep = () => {
    if (text.trim() === "") setText(name)
    else onChange(text.trim())
  }
  return (
    <input
      id={id}
      value={text}
      maxLength={40}
      autoComplete="nickname"
      onChange={(event) => setText(event.target.value)}
      onBlur={keep}
      onKeyDown={(event) => {
        if (event.key === "Escape") setText(name)
        if (event.key === "Enter") keep()
        if (event.key === "Escape" || event.key === "Enter") event.currentTarget.blur()
      }}
    />
  )
}

const themes: ReadonlyArray<readonly [theme: Theme, label: string]> = [
  ["system", "As the system"],
  ["light", "Light"],
  ["dark", "Dark"]
]

const ThemeSwitch = (props: { readonly theme: Theme; readonly onChange: (theme: Theme) => void }) => (
  <fieldset className="theme">
    <legend className="hidden">Colours</legend>
    {themes.map(([theme, label]) => (
      <label key={theme} title={label}>
        <input
          type="radio"
          name="theme"
          aria-label={label}
          checked={props.theme === theme}
          onChange={() => props.onChange(theme)}
        />
        <Icon name={theme} />
      </label>
    ))}
  </fieldset>
)
