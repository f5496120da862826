import { useEffect, useRef, useState } from "react"
import type { Caller } from "../api.ts"
import type { Channel } from "../schema.ts"
import { home } from "../tenants.ts"
import { Channels, type ChannelsHandle } from "./Channels.tsx"
import { Conversation, type ConversationHandle } from "./Conversation.tsx"
import { useConnection, useLive, useMutation } from "./client.ts"
import { addressOfTenant, placeOf, usePlace, visit } from "./location.ts"
import { Mark } from "./Mark.tsx"
import { Shortcuts, useShortcuts } from "./Shortcuts.tsx"
import { useSending } from "./sending.ts"
import { forget } from "./session.ts"
import { useSettings } from "./settings.ts"
import { Gone, Welcome } from "./Welcome.tsx"

const nobody: Caller = { id: "", name: "", isGuest: true }

/** The whole page: the list of channels, and the conversation of the current one. A phone shows one of the two. */
export const App = () => {
  const me = useMe()
  const { error, value: channels } = useLive("channels.list", {})
  const connection = useConnection()
  const [settings, change] = useSettings()
  const place = usePlace()
  const sending = useSending(me ?? nobody)
  const list = useRef<ChannelsHandle>(null)
  const conversation = useRef<ConversationHandle>(null)
  const [isHelpOpen, openHelp] = useState(false)

  // Without a channel in the address, the first one is current; a wide screen shows it beside the list.
  const channel = channels?.find((channel) => placeOf(channel) === place) ?? (place === "" ? channels?.[0] : undefined)
  // A phone shows the conversation if the address names a channel, the welcome if there is no channel, else the list.
  const pane = place !== "" || channels?.length === 0 ? "conversation" : "channels"

  useEffect(() => {
    document.title = channel === undefined ? "Dormouse chat" : `#${channel.name} · Dormouse chat`
  }, [channel])

  useShortcuts({
    write: () => conversation.current?.write(),
    create: () => list.current?.create(),
    step: (by) => {
      const next = step(channels ?? [], channel, by)
      if (next !== undefined) visit(placeOf(next))
    },
    help: () => openHelp(true)
  })

  return (
    <div className="app" data-pane={pane}>
      <button type="button" className="skip" onClick={() => conversation.current?.write()}>
        Skip to the message field
      </button>
      <Channels
        ref={list}
        channels={channels}
        current={channel}
        me={me}
        settings={settings}
        onChange={change}
        onHelp={() => openHelp(true)}
      />
      <main className="main">
        {isEnded(connection) ? (
          <Ended />
        ) : connection._tag === "Refused" ? (
          <Refused />
        ) : error !== undefined ? (
          <Empty title="The chat cannot be shown" text={error.message} />
        ) : channels === undefined || me === undefined ? (
          <Empty title="" text="" />
        ) : channel !== undefined ? (
          <Conversation key={channel.id} ref={conversation} channel={channel} me={me} sending={sending} />
        ) : isId(place) ? (
          <Gone />
        ) : (
          <Welcome missing={place} />
        )}
      </main>
      <Shortcuts isOpen={isHelpOpen} onClose={() => openHelp(false)} />
    </div>
  )
}

/** Who the user is. Others can invite the user by name from then on. */
const useMe = (): Caller | undefined => {
  const { value: me } = useLive("people.me", {})
  const [enter] = useMutation("people.enter")
  const name = me?.name
  useEffect(() => {
    // Without an answer, the name is told at the next visit.
    if (name !== undefined) enter({}).catch(() => undefined)
  }, [name, enter])
  return me ?? undefined
}

/** Whether a place in the address is the id of a private channel. */
const isId = (place: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(place)

/** Whether the server does not accept the session any more: it was ended from another browser. */
const isEnded = (connection: ReturnType<typeof useConnection>): boolean =>
  connection._tag === "Refused" && connection.reason.startsWith("4401")

const Ended = () => (
  <div className="empty">
    <Mark />
    <h1>You were signed out</h1>
    <p>Your account was signed out everywhere, or the session has expired.</p>
    <button type="button" className="primary" onClick={forget}>
      Go on as a guest
    </button>
  </div>
)

/** Shown to who may not enter the tenant. A tenant that does not exist looks the same. */
const Refused = () => (
  <div className="empty">
    <Mark />
    <h1>You are not in this team</h1>
    <p>Acme is for those who have an account with a name and a password. Create one where everybody is.</p>
    <a href={addressOfTenant(home)}>Where everybody is</a>
  </div>
)

const Empty = ({ text, title }: { readonly title: string; readonly text: string }) => (
  <div className="empty">
    <Mark />
    <h1>{title}</h1>
    <p>{text}</p>
  </div>
)

/** The channel `by` places further in the list, wrapping around at both ends. */
const step = (channels: ReadonlyArray<Channel>, from: Channel | undefined, by: number): Channel | undefined =>
  channels[(channels.findIndex(({ id }) => id === from?.id) + by + channels.length) % channels.length]
