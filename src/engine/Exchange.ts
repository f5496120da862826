import type * as Context from "effect/Context"
import type { FromClientEncoded, FromServerEncoded } from "effect/rpc/RpcMessage"
import type { Request } from "../protocol/Messages.ts"
import type { Server } from "./Server.ts"

export interface Options {
  /** What only these requests' handlers may use. */
  readonly context?: Context.Context<any>
  /** Gets each message as it comes; without it they are collected. */
  readonly onMessage?: (message: FromServerEncoded) => void
}

/** Answers the requests of one HTTP body: resolves when each has its exit. */
export const exchange = (
  server: Server,
  requests: ReadonlyArray<Request>,
  options: Options = {}
): Promise<ReadonlyArray<FromServerEncoded>> =>
  new Promise((resolve) => {
    const answers: Array<FromServerEncoded> = []
    let waiting = requests.filter((request) => request.isNotification !== true).length
    const connection = server.open((message) => {
      if (options.onMessage === undefined) answers.push(message)
      else options.onMessage(message)
      // Over HTTP nobody acknowledges; the body is the reader.
      if (message._tag === "Chunk") connection.receive({ _tag: "Ack", requestId: message.requestId })
      if (message._tag === "Exit" && --waiting === 0) finish()
    })
    const finish = () => {
      resolve(answers)
      connection.close()
    }
    // The server takes the message apart in place.
    for (const request of requests) connection.receive({ ...request } as FromClientEncoded, options.context)
    if (waiting === 0) finish()
  })
