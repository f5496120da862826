import { useConnection } from "./client.ts"
import { timeOf } from "./times.ts"

/** How fresh everything on the page is, in words. */
export const ConnectionWords = () => {
  const connection = useConnection()
  const [short, long] = wordsFor(connection)
  return (
    <p className="connection" data-state={connection._tag} role="status" title={long}>
      <span className="dot" aria-hidden="true" />
      <span>{short}</span>
      {long !== "" && <span className="hidden">. {long}</span>}
    </p>
  )
}

const wordsFor = (connection: ReturnType<typeof useConnection>): readonly [short: string, long: string] => {
  switch (connection._tag) {
    case "Live":
      return ["Live", "Everything here is as the server has it"]
    case "Idle":
    case "Connecting":
      return ["Connecting…", ""]
    case "Stale":
      return ["Reconnecting…", `What is shown is from ${timeOf(connection.since)}`]
    case "Offline":
      return [`Offline since ${timeOf(connection.since)}`, "What you write is kept, and sent when the network is back"]
    case "Refused":
      return ["Refused", `The server does not want this page: ${connection.reason}`]
  }
}
