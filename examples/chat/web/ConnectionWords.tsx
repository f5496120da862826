import { useConnection } from "./client.ts"
import { timeOf } from "./times.ts"

type Connection = ReturnType<typeof useConnection>

/** The state of the connection, in one word. */
export const ConnectionWords = () => {
  const connection = useConnection()
  return (
    <p className="connection" data-state={connection._tag} role="status" aria-label="Connection">
      <span className="dot" aria-hidden="true" />
      <span className="word">{wordOf(connection)}</span>
    </p>
  )
}

/** What the state of the connection means for the user. Empty while everything works. */
export const ConnectionNotice = () => {
  const notice = noticeOf(useConnection())
  return (
    <div className="notice" role="status" aria-label="About the connection">
      {notice !== "" && <p>{notice}</p>}
    </div>
  )
}

const wordOf = (connection: Connection): string => {
  switch (connection._tag) {
    case "Live":
      return "Live"
    case "Idle":
    case "Connecting":
      return "Connecting…"
    case "Stale":
      return "Reconnecting…"
    case "Offline":
      return "Offline"
    case "Refused":
      return "Not connected"
  }
}

const noticeOf = (connection: Connection): string => {
  switch (connection._tag) {
    case "Stale":
      return `The server cannot be reached since ${timeOf(connection.since)}. What you write is kept, and sent when it is back.`
    case "Offline":
      return `You are offline since ${timeOf(connection.since)}. What you write is kept, and sent when you are back.`
    default:
      return ""
  }
}
