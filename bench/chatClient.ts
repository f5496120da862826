/// <reference types="node" />

/** Dormouse's own client of the chat, with all its calls on one socket. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Socket from "effect/socket/Socket"
import { Client } from "effect-dormouse/client"
import { WebSocket } from "ws"
import { ChatApi } from "../examples/minimal/api.ts"
import { ChannelId } from "../examples/minimal/schema.ts"
import type { Server } from "./harness.ts"
import { messageTo } from "./room.ts"

export interface ChatClient {
  readonly send: (channel: string) => Promise<unknown>
  /** How many numbered mutations have left on the socket. */
  readonly numbered: () => number
}

export async function openChatClient(server: Server): Promise<ChatClient> {
  let numbered = 0
  /** The socket of the other subjects' clients. */
  class CountingSocket extends WebSocket {
    override send(text: string): void {
      if (text.includes('["dormouse-mutation",')) numbered++
      super.send(text)
    }
  }
  const options = { perMessageDeflate: false, skipUTF8Validation: true }
  const scope = await Effect.runPromise(Scope.make())
  server.onStop(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) =>
    Effect.runPromise(Effect.provideService(effect, Scope.Scope, scope))

  const chat = await run(
    Effect.provideService(
      Client.make(ChatApi, { url: server.url }),
      Socket.WebSocketConstructor,
      (url) => new CountingSocket(url, options)
    )
  )
  // While a query is live, calls are made on its socket. No message changes the list of channels.
  const opened = Promise.withResolvers<void>()
  await run(Effect.forkScoped(Stream.runForEach(chat.live("channels.list", {}), () => Effect.sync(opened.resolve))))
  await opened.promise
  return {
    send: (channel) => {
      const { author, body } = messageTo(channel).payload
      return Effect.runPromise(chat.mutate("messages.send", { channel: ChannelId.make(channel), author, body }))
    },
    numbered: () => numbered
  }
}
