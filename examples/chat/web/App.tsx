import { useEffect, useRef, useState } from "react"
import type { Caller } from "../api.ts"
import type { Channel } from "../schema.ts"
import { Channels, type ChannelsHandle } from "./Channels.tsx"
import { Conversation, type ConversationHandle } from "./Conversation.tsx"
import { useChanging } from "./changing.ts"
import { byName } from "./channelOrder.ts"
import { useConnection, useLive, useMutation } from "./client.ts"
import { placeOf, usePlace, visit } from "./location.ts"
import { Ended, Failed, Gone, Loading, Refused, Welcome } from "./Notices.tsx"
import { useOrdering } from "./ordering.ts"
import { usePhone } from "./phone.ts"
import { Shortcuts, useShortcuts } from "./Shortcuts.tsx"
import { useSending } from "./sending.ts"
import { useSettings } from "./settings.ts"
import { Watch } from "./Watch.tsx"

const nobody: Caller = { id: "", name: "", isGuest: true }

const noChannels: ReadonlyArray<Channel> = []

/** The whole page: the list of channels, and the conversation of the current one. A phone shows one of the two. */
export const App = () => {
  const me = useMe()
  const { error, value: channels } = useLive("channels.list", {})
  const connection = useConnection()
  const [settings, change] = useSettings()
  const place = usePlace()
  const isPhone = usePhone()
  const sending = useSending(me ?? nobody)
  const changing = useChanging()
  const list = useRef<ChannelsHandle>(null)
  const conversation = useRef<ConversationHandle>(null)
  const [isHelpOpen, openHelp] = useState(false)

  const first = useFirst(channels)
  // Without a channel in the address, a wide screen shows the first one beside the list.
  const channel = channels?.find((channel) => placeOf(channel) === place) ?? (place || isPhone ? undefined : first)
  const ordering = useOrdering(channels ?? noChannels, channel)
  const notice = isEnded(connection) ? (
    <Ended />
  ) : connection._tag === "Refused" ? (
    <Refused />
  ) : error !== undefined ? (
    <Failed />
  ) : channels?.length === 0 && me !== undefined && !isId(place) ? (
    <Welcome missing={place} />
  ) : undefined
  // A phone shows the conversation if the address names a channel, else the list. A notice is shown below who the user is.
  const pane = notice !== undefined ? "notice" : place !== "" ? "conversation" : "channels"

  useEffect(() => {
    document.title = channel === undefined ? "Dormouse chat" : `#${channel.name} · Dormouse chat`
  }, [channel])

  useShortcuts({
    write: () => conversation.current?.write(),
    create: () => list.current?.create(),
    find: () => list.current?.find(),
    step: (by) => {
      const next = step([...ordering.unread, ...ordering.others], channel, by)
      if (next !== undefined) visit(placeOf(next))
    },
    help: () => openHelp(true)
  })

  return (
    <div className="app" data-pane={pane}>
      {channels?.map((each) => (
        <Watch key={each.id} channel={each} isCurrent={each.id === channel?.id} onChange={ordering.mark} />
      ))}
      <Channels
        ref={list}
        channels={channels ?? noChannels}
        current={channel}
        ordering={ordering}
        isMain={isPhone && pane === "channels"}
        me={me}
        settings={settings}
        onChange={change}
        onHelp={() => openHelp(true)}
        onWrite={() => conversation.current?.write()}
      />
      <main className="main">
        {notice ??
          (channels === undefined || me === undefined ? (
            <Loading />
          ) : channel !== undefined ? (
            <Conversation
              key={channel.id}
              ref={conversation}
              channel={channel}
              me={me}
              sending={sending}
              changing={changing}
            />
          ) : isId(place) ? (
            <Gone />
          ) : (
            place !== "" && <Welcome missing={place} />
          ))}
      </main>
      <Shortcuts isOpen={isHelpOpen} onClose={() => openHelp(false)} />
    </div>
  )
}

/** The first channel. It stays the same while the page is open: a channel that is created later does not take its place. */
const useFirst = (channels: ReadonlyArray<Channel> | undefined): Channel | undefined => {
  const first = useRef<string>(undefined)
  const found = channels?.find(({ id }) => id === first.current) ?? channels?.toSorted(byName)[0]
  useEffect(() => {
    first.current = found?.id
  })
  return found
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

/** The channel `by` places further in the list, wrapping around at both ends. */
const step = (channels: ReadonlyArray<Channel>, from: Channel | undefined, by: number): Channel | undefined =>
  channels[(channels.findIndex(({ id }) => id === from?.id) + by + channels.length) % channels.length]
