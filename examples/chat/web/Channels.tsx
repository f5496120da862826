import { type Ref, useImperativeHandle, useRef } from "react"
import type { Caller } from "../api.ts"
import type { Channel } from "../schema.ts"
import { Account } from "./Account.tsx"
import { ChannelList } from "./ChannelList.tsx"
import { ConnectionWords } from "./ConnectionWords.tsx"
import { Icon } from "./Icon.tsx"
import { Mark } from "./Mark.tsx"
import { NewChannel } from "./NewChannel.tsx"
import type { Ordering } from "./ordering.ts"
import type { Settings, Theme } from "./settings.ts"
import { TeamSettings } from "./TeamSettings.tsx"
import { Tenants } from "./Tenants.tsx"

/** What other components can do with the list of channels. */
export interface ChannelsHandle {
  /** Focuses the field for a new channel. */
  readonly create: () => void
  /** Focuses the field that finds a channel, if there is one. */
  readonly find: () => void
}

interface Props {
  readonly ref: Ref<ChannelsHandle>
  readonly channels: ReadonlyArray<Channel>
  readonly current: Channel | undefined
  readonly ordering: Ordering
  /** Whether it is all that the page shows. */
  readonly isMain: boolean
  readonly me: Caller | undefined
  readonly settings: Settings
  readonly onChange: (changes: Partial<Settings>) => void
  readonly onHelp: () => void
  readonly onWrite: () => void
}

/** The side of the page: the channels that the user can see, and who the user is. */
export const Channels = ({
  channels,
  current,
  isMain,
  me,
  onChange,
  onHelp,
  onWrite,
  ordering,
  ref,
  settings
}: Props) => {
  const field = useRef<HTMLInputElement>(null)
  const filter = useRef<HTMLInputElement>(null)
  useImperativeHandle(ref, () => ({ create: () => field.current?.focus(), find: () => filter.current?.focus() }))
  return (
    <div className="side" role={isMain ? "main" : "complementary"}>
      <button type="button" className="skip" onClick={onWrite}>
        Skip to the message field
      </button>
      <div className="brand">
        <Mark />
        <h1>Dormouse chat</h1>
        <ConnectionWords />
      </div>
      <Tenants />
      <nav className="channels" aria-label="Channels">
        <ChannelList current={current} ordering={ordering} filter={filter} />
      </nav>
      <NewChannel field={field} />
      <div className="you">
        {me && <Account me={me} />}
        <div className="row">
          <ThemeSwitch theme={settings.theme} onChange={(theme) => onChange({ theme })} />
          {me && <TeamSettings channels={channels} me={me} />}
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
      </div>
    </div>
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
