/**
 * One socket for all tabs of a browser that are the same caller of the same tenant. A tab has the socket and relays for the
 * others; when it is closed or stops, another one takes its place. Web Locks elect it and notice its end, and
 * `BroadcastChannel` carries the messages: browsers on Android have no `SharedWorker`.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Socket from "effect/socket/Socket"
import { browser } from "./Browser.ts"
import { SharedSocketMember } from "./SharedSocketMember.ts"
import type { SharingHost } from "./SharedSocketMessages.ts"

/** With whom a socket is shared. */
export interface SharedSocketOptions {
  /**
   * Names the caller: tabs with the same one share a socket, although their tokens differ. Give it when tokens are renewed.
   * It must be another one when the user is another one. Unless given, tabs share a socket as long as their tokens are
   * the same text, and a tab that gets a new one has a socket of its own from then on, or that of others with this token.
   */
  readonly identity?: string
}

/**
 * Provide it to `Client.make`. Tabs of different origins, servers, tenants or callers never share a socket. Where the browser
 * has no Web Locks, also on a page without TLS, each tab has its own.
 */
export const layer = (options: SharedSocketOptions = {}): Layer.Layer<Socket.WebSocketConstructor> =>
  Layer.effect(
    Socket.WebSocketConstructor,
    Effect.map(
      Effect.serviceOption(Socket.WebSocketConstructor),
      (provided): Socket.WebSocketConstructor["Service"] => {
        const connect = Option.getOrElse(
          provided,
          (): Socket.WebSocketConstructor["Service"] => (url, given) =>
            new globalThis.WebSocket(url, Array.isArray(given) ? given : [])
        )
        const host = hostOf()
        if (host === undefined) return connect
        return (url, given) => {
          const protocols = protocolsOf(given)
          const name = nameOf(JSON.stringify([url, options.identity ?? protocols]))
          const sharesTokens = options.identity !== undefined
          return new SharedSocketMember({ name, host, connect, url, protocols, sharesTokens })
        }
      }
    )
  )

/** What this browser has for sharing, if it has all of it. */
const hostOf = (): SharingHost | undefined => {
  const { BroadcastChannel, navigator } = browser
  const locks = navigator?.locks
  return BroadcastChannel === undefined || locks === undefined ? undefined : { BroadcastChannel, locks }
}

const protocolsOf = (options: Socket.WebSocketConstructorOptions | undefined): ReadonlyArray<string> => {
  const protocols = typeof options === "object" && !Array.isArray(options) ? options.protocols : options
  return protocols === undefined ? [] : [protocols].flat()
}

/** The name of a channel, from which its token cannot be read. The number is that of the messages' form. */
const nameOf = async (shared: string): Promise<string> => {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(shared)))
  return `effect-dormouse/socket/1/${Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("")}`
}
