import { useState } from "react"
import type { ChannelId } from "../schema.ts"
import { Channels } from "./Channels.tsx"
import { Connection } from "./Connection.tsx"
import { Conversation } from "./Conversation.tsx"
import { useLive } from "./client.ts"
import { useName } from "./name.ts"

export const App = () => {
  const [name, setName] = useName()
  const { error, value: channels } = useLive("channels.list", {})
  const [chosen, choose] = useState<ChannelId>()
  const channel = channels?.find(({ id }) => id === chosen) ?? channels?.[0]
  return (
    <>
      <header>
        <h1>Chat</h1>
        <Connection />
      </header>
      <label className="name">
        Your name
        <input value={name} maxLength={40} onChange={(event) => setName(event.target.value)} />
      </label>
      {error !== undefined && <p role="alert">{error.message}</p>}
      <Channels channels={channels ?? []} current={channel?.id} onChoose={choose} />
      {channel === undefined ? (
        <p className="hint">Make a channel, and open this page in a second window.</p>
      ) : (
        <Conversation key={channel.id} channel={channel} author={name.trim()} />
      )}
    </>
  )
}
