import * as DateTime from "effect/DateTime"
import { describe, expect, it } from "vitest"
import { type Channel, ChannelId, Message, MessageId } from "../../examples/chat/schema.ts"
import { announce, type Heard } from "../../examples/chat/web/announcing.ts"
import { arrange, filterByName, raise } from "../../examples/chat/web/channelOrder.ts"
import { forAll } from "../random.ts"

/** What the page of examples/chat decides: the order of the channels, and what it announces. */

const channel = (name: string): Channel => ({
  id: ChannelId.make(`id of ${name}`),
  name,
  access: "public",
  owner: "ada",
  createdAt: DateTime.makeUnsafe(0)
})
const idsOf = (...names: ReadonlyArray<string>) => new Set(names.map((name) => channel(name).id))
const namesOf = (channels: ReadonlyArray<Channel>) => channels.map(({ name }) => name)

describe("the order of channels", () => {
  const all = ["general-10", "zoo", "General-1", "general-2", "äpfel", "birds"].map(channel)

  it("is the natural one, in both parts", () => {
    const { others, unread } = arrange(all, idsOf("zoo", "general-10", "general-2"))
    expect(namesOf(unread)).toEqual(["general-2", "general-10", "zoo"])
    expect(namesOf(others)).toEqual(["äpfel", "birds", "General-1"])
  })

  it("channels of one name keep an order", () => {
    const twins = ["1", "2"].map((id) => ({ ...channel("twin"), id: ChannelId.make(id) }))
    const order = (channels: ReadonlyArray<Channel>) => arrange(channels, idsOf()).others.map(({ id }) => id)
    expect(order(twins.toReversed())).toEqual(order(twins))
  })

  it("a channel with new messages comes first, and stays there while it is read", () => {
    const birds = channel("birds").id
    let raised = raise(idsOf(), { unread: idsOf("birds"), current: undefined, isHeld: false })
    expect(raised).toEqual(idsOf("birds"))
    // It is opened: it has nothing unread any more.
    raised = raise(raised, { unread: idsOf(), current: birds, isHeld: false })
    expect(raised).toEqual(idsOf("birds"))
    // Another one gets messages meanwhile, and is opened.
    raised = raise(raised, { unread: idsOf("zoo"), current: birds, isHeld: false })
    expect(raised).toEqual(idsOf("birds", "zoo"))
    raised = raise(raised, { unread: idsOf(), current: channel("zoo").id, isHeld: false })
    expect(raised).toEqual(idsOf("zoo"))
    // One that was opened from the other part does not move either.
    raised = raise(raised, { unread: idsOf(), current: birds, isHeld: false })
    expect(raised).toEqual(idsOf())
  })

  it("nothing moves while the user is at the list", () => {
    forAll(50, (random) => {
      let raised = idsOf(...random.shuffle(namesOf(all)).slice(0, 2))
      const before = arrange(all, raised)
      for (let i = 0; i < 10; i++) {
        const unread = idsOf(...random.shuffle(namesOf(all)).slice(0, random.int(6)))
        raised = new Set(raise(raised, { unread, current: random.pick(all).id, isHeld: true }))
        expect(arrange(all, raised)).toEqual(before)
      }
    })
  })

  it("is filtered by a part of the name, in upper or lower case", () => {
    expect(namesOf(filterByName(all, " GENERAL-1 "))).toEqual(["general-10", "General-1"])
    expect(namesOf(filterByName(all, "#zoo"))).toEqual(["zoo"])
    expect(filterByName(all, " ")).toEqual(all)
    expect(filterByName(all, "(")).toEqual([])
  })
})

describe("announcements", () => {
  const message = (id: string, author: string, at: number, from?: string) =>
    new Message({
      id: MessageId.make(id),
      channel: ChannelId.make("c"),
      author,
      name: author,
      body: id,
      sentAt: DateTime.makeUnsafe(at),
      ...(from !== undefined && { from })
    })
  /** The ids that are announced for each of these states of the channel. */
  const announced = (...states: ReadonlyArray<ReadonlyArray<Message>>) => {
    let heard: Heard | undefined
    return states.map((messages) => {
      const next = announce(heard, messages, "me")
      heard = next.heard
      return next.fresh.map(({ id }) => id as string)
    })
  }
  const [a, b, c] = [message("a", "bob", 1), message("b", "bob", 2), message("c", "cleo", 3)]

  it("the first message of somebody else in an empty channel is announced", () => {
    expect(announced([], [a])).toEqual([[], ["a"]])
  })

  it("what is there when the channel is opened is not, nor what the user has written or imported", () => {
    const [own, old] = [message("own", "me", 4), message("old", "me", 5, "Grace")]
    expect(announced([a, b], [a, b], [a, b, c], [a, b, c, own, old])).toEqual([[], [], ["c"], []])
  })

  it("several that arrive at once are announced, also before one of the user's own", () => {
    expect(announced([a], [a, b, c, message("own", "me", 4)])).toEqual([[], ["b", "c"]])
  })

  it("older ones that are loaded are not, nor what is the newest after a deletion", () => {
    expect(announced([c], [a, b, c], [a, b], [a, b, message("d", "bob", 9)])).toEqual([[], [], [], ["d"]])
  })

  it("two of the same millisecond are two", () => {
    expect(announced([a], [a, b], [a, b, message("twin", "bob", 2)], [a, b, message("twin", "bob", 2)])).toEqual([
      [],
      ["b"],
      ["twin"],
      []
    ])
  })
})
