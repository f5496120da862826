import { useConnection } from "./client.ts"

/** The state of the connection in one sentence. */
export const ConnectionWords = () => {
  const { _tag } = useConnection()
  return (
    <p className="connection" data-state={_tag} role="status" aria-label="Connection">
      {words[_tag]}
    </p>
  )
}

const words: Record<ReturnType<typeof useConnection>["_tag"], string> = {
  Live: "Live",
  Idle: "Connecting…",
  Connecting: "Connecting…",
  Stale: "Reconnecting… What you do is kept and sent.",
  Offline: "Offline. What you do is kept and sent.",
  Refused: "The server refused the connection."
}
