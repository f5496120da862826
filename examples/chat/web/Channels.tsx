import { type FormEvent, type Ref, useEffect, useImperativeHandle, useRef, useState } from "react"
import type { Caller } from "../api.ts"
import type { Channel } from "../schema.ts"
import { Account } from "./Account.tsx"
import { useLive, useMutation } from "./client.ts"
import { Icon } from "./Icon.tsx"
import { addressOf, placeOf, visit } from "./location.ts"
import { Mark } from "./Mark.tsx"
import { nameFrom } from "./names.ts"
import { Sign } from "./Sign.tsx"
import type { Settings, Theme } from "./settings.ts"
import { TeamSettings } from "./TeamSettings.tsx"
import { Tenants } from "./Tenants.tsx"

/** What other components can do with the list of channels. */
export interface ChannelsHandle {
  /** Focuses the field for a new channel. */
  readonly create: () => void
}

interface Props {
  readonly ref: Ref<ChannelsHandle>
  readonly channels: ReadonlyArray<Channel> | undefined
  readonly current: Channel | undefined
  readonly me: Caller | undefined
  readonly settings: Settings
  readonly onChange: (changes: Partial<Settings>) => void
  readonly onHelp: () => void
}

/** The side of the page: the channels that the user can see, and who the user is. */
export const Channels = ({ channels, current, me, onChange, onHelp, ref, settings }: Props) => {
  const field = useRef<HTMLInputElement>(null)
  useImperativeHandle(ref, () => ({ create: () => field.current?.focus() }))
  return (
    <aside className="side">
      <header className="brand">
        <Mark />
        <span>Dormouse chat</span>
      </header>
      <Tenants />
      <nav className="channels" aria-label="Channels">
        <h2>Channels</h2>
        <ul>
          {channels?.map((channel) => (
            <Item key={channel.id} channel={channel} isCurrent={channel.id === current?.id} />
          ))}
        </ul>
        {channels?.length === 0 && <p className="note">None yet.</p>}
        <NewChannel field={field} />
      </nav>
      <footer className="you">
        {me && <Account me={me} />}
        <div className="row">
          <ThemeSwitch theme={settings.theme} onChange={(theme) => onChange({ theme })} />
          {me && <TeamSettings channels={channels ?? []} me={me} />}
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
  readonly channel: Channel
  readonly isCurrent: boolean
}

/** A channel, and whether it has messages that are newer than the last time it was current. */
const Item = ({ channel, isCurrent }: ItemProps) => {
  const { access, id, name } = channel
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
        href={addressOf(placeOf(channel))}
        aria-current={isCurrent ? "page" : undefined}
        data-unread={isUnread || undefined}
        aria-label={isUnread ? `${name}, new messages` : undefined}
      >
        <Sign access={access} />
        {name}
      </a>
    </li>
  )
}

const NewChannel = ({ field }: { readonly field: Ref<HTMLInputElement> }) => {
  const [text, setText] = useState("")
  const [isPrivate, setPrivate] = useState(false)
  const [problem, setProblem] = useState("")
  const [create, isPending] = useMutation("channels.create")
  const name = nameFrom(text)
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    if (name === "") return
    const outcome = await create({ name, access: isPrivate ? "private" : "public" }).catch(() => undefined)
    if (outcome?._tag === "Success") {
      setText("")
      setPrivate(false)
      visit(placeOf(outcome.value))
    } else setProblem(outcome?.error._tag === "ChannelExists" ? `There is #${name} already.` : "It could not be made.")
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
      <label className="lock" title="Private: only for members">
        <input
          type="checkbox"
          aria-label="Private"
          checked={isPrivate}
          onChange={(event) => setPrivate(event.target.checked)}
        />
        <Icon name="lock" />
      </label>
      <button type="submit" className="quiet" aria-label="Create the channel" disabled={name === "" || isPending}>
        <Icon name="plus" />
      </button>
      <p id="new-channel" className="note" role="status">
        {problem !== "" ? problem : name !== "" && name !== text ? `It will be ${isPrivate ? "" : "#"}${name}` : ""}
      </p>
    </form>
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
