/**
 * What the sockets of one caller say to each other in different tabs of a browser, over channels of the browser.
 * One of the tabs leads: it has the socket to the server. The others are its members.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Channel, Locks } from "./Browser.ts"

/** What a browser must have for tabs to share a socket. */
export interface SharingHost {
  readonly locks: Locks
  readonly BroadcastChannel: new (name: string) => Channel
}

const leader = Schema.String

/** On the channel of all: a tab leads from now on, or a socket wants to be a member. */
export const Announcement = Schema.Union([
  Schema.TaggedStruct("Lead", { leader }),
  Schema.TaggedStruct("Join", { member: Schema.String, url: Schema.String, protocols: Schema.Array(Schema.String) })
])

/** To a member: the leader knows it; the socket is open; a message of the server; how the socket was closed. */
export const ToMember = Schema.Union([
  Schema.TaggedStruct("Attached", { leader }),
  Schema.TaggedStruct("Opened", { leader }),
  Schema.TaggedStruct("Received", { leader, text: Schema.String }),
  Schema.TaggedStruct("Closed", { leader, code: Schema.Int, reason: Schema.String })
])

/** To the leader: a message for the server; the member does not want the socket any more. */
export const ToLeader = Schema.Union([
  Schema.TaggedStruct("Send", { leader, text: Schema.String }),
  Schema.TaggedStruct("Leave", { leader })
])

/** One end of a channel. */
export interface OpenChannel<in Out> {
  readonly post: (message: Out) => void
  readonly close: () => void
}

/** Opens a channel. What does not fit `incoming`, such as what the other end says to others, is ignored. */
export const openChannel = <Incoming, Out>(
  { BroadcastChannel }: SharingHost,
  name: string,
  incoming: Schema.Codec<Incoming, any>,
  receive: (message: Incoming) => void
): OpenChannel<Out> => {
  const decode = Schema.decodeUnknownOption(incoming)
  const channel = new BroadcastChannel(name)
  channel.onmessage = ({ data }) => {
    const message = decode(data)
    if (Option.isSome(message)) receive(message.value)
  }
  return {
    post: (message) => channel.postMessage(message),
    close: () => {
      channel.onmessage = null
      channel.close()
    }
  }
}
