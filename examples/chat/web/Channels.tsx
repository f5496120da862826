import { type FormEvent, type Ref, useImperativeHandle, useRef, useState } from "react"
import type { Channel } from "../schema.ts"
import { useMutation } from "./client.ts"
import { Icon } from "./Icon.tsx"
import { addressOf, visit } from "./location.ts"
import { Mark } from "./Mark.tsx"
import { nameFrom } from "./names.ts"
import type { Settings, Theme } from "./settings.ts"

export interface ChannelsHandle {
  /** Begins a new channel. */
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

/** The side of the page: all channels, and who is looking at them. */
export const Channels = ({ channels, current, onChange, onHelp, ref, settings }: Props) => {
  const field = useRef<HTMLInputElement>(null)
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
            <li key={id}>
              <a href={addressOf(name)} aria-current={id === current?.id ? "page" : undefined}>
                <span className="hash" aria-hidden="true">
                  #
                </span>
                {name}
              </a>
            </li>
          ))}
        </ul>
        {channels?.length === 0 && <p className="note">None yet.</p>}
        <NewChannel field={field} />
      </nav>
      <footer className="you">
        <label>
          <span>You write as</span>
          <Name name={settings.name} onChange={(name) => onChange({ name })} />
        </label>
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

/** Kept when it is left or entered; an empty one is none. */
const Name = ({ name, onChange }: { readonly name: string; readonly onChange: (name: string) => void }) => {
  const [text, setText] = useState(name)
  const keep = () => {
    if (text.trim() === "") setText(name)
    else onChange(text.trim())
  }
  return (
    <input
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
