import { useEffect, useRef, useState } from "react"
import type { Channel } from "../schema.ts"
import { Channels, type ChannelsHandle } from "./Channels.tsx"
import { Conversation, type ConversationHandle } from "./Conversation.tsx"
import { useLive } from "./client.ts"
import { useChannelName, visit } from "./location.ts"
import { Mark } from "./Mark.tsx"
import { Shortcuts, useShortcuts } from "./Shortcuts.tsx"
import { useSending } from "./sending.ts"
import { useSettings } from "./settings.ts"
import { Welcome } from "./Welcome.tsx"

/** The whole page: the list of channels, and the conversation of the current one. A phone shows one of the two. */
export const App = () => {
  const { error, value: channels } = useLive("channels.list", {})
  const [settings, change] = useSettings()
  const name = useChannelName()
  const sending = useSending()
  const list = useRef<ChannelsHandle>(null)
  const conversation = useRef<ConversationHandle>(null)
  const [isHelpOpen, openHelp] = useState(false)

  // Without a channel in the address, the first one is current; a wide screen shows it beside the list.
  const channel = channels?.find((channel) => channel.name === name) ?? (name === "" ? channels?.[0] : undefined)
  // A phone shows the conversation if the address names a channel, the welcome if there is no channel, else the list.
  const pane = name !== "" || channels?.length === 0 ? "conversation" : "channels"

  useEffect(() => {
    document.title = channel === undefined ? "Dormouse chat" : `#${channel.name} · Dormouse chat`
  }, [channel])

  useShortcuts({
    write: () => conversation.current?.write(),
    create: () => list.current?.create(),
    step: (by) => {
      const next = step(channels ?? [], channel, by)
      if (next !== undefined) visit(next.name)
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
        settings={settings}
        onChange={change}
        onHelp={() => openHelp(true)}
      />
      <main className="main">
        {error !== undefined ? (
          <Empty title="The chat cannot be shown" text={error.message} />
        ) : channels === undefined ? (
          <Empty title="" text="" />
        ) : channel !== undefined ? (
          <Conversation
            key={channel.id}
            ref={conversation}
            channel={channel}
            author={settings.name}
            sending={sending}
          />
        ) : (
          <Welcome missing={name} />
        )}
      </main>
      <Shortcuts isOpen={isHelpOpen} onClose={() => openHelp(false)} />
    </div>
  )
}

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
