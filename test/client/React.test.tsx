import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Socket from "effect/socket/Socket"
import { Api, App, Query } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import type { Client } from "effect-dormouse/client"
import { createHooks } from "effect-dormouse/react"
import { TestApp } from "effect-dormouse/testing"
import { Profiler, StrictMode, Suspense, useState } from "react"
import { renderToString } from "react-dom/server"
import { afterEach, expectTypeOf } from "vitest"
import { ChatApi } from "../../examples/minimal/api.ts"
import { app } from "../../examples/minimal/app.ts"
import { type Channel, ChannelId, Message, MessageId } from "../../examples/minimal/schema.ts"
import { Boundary, checkWarnings, lingering, render, until } from "./rendering.tsx"

checkWarnings()

const { Provider, useConnection, useLive, useLiveSuspense, useMutation, usePages } = createHooks(ChatApi)

type Chat = Client.Client<typeof ChatApi extends Api.Declared<infer Rpcs> ? Rpcs : never>

/** A backend with a channel, a client of it, and a second client that writes. */
const world = Effect.gen(function* () {
  const chat = yield* TestApp.client(ChatApi)
  const other = yield* TestApp.client(ChatApi)
  const { object } = yield* TestApp
  const channel = yield* other.mutate("channels.create", { name: "general" })
  const say = (body: string) =>
    Effect.runPromise(other.mutate("messages.send", { channel: channel.id, author: "bob", body }))
  return { chat, channel, network: object().network, say }
})

type World = Effect.Success<typeof world>

const test = (name: string, body: (world: World) => Promise<void>) =>
  it.live(name, () =>
    Effect.flatMap(world, (world) => Effect.promise(() => body(world))).pipe(Effect.provide(TestApp.layer(app)))
  )

/** Mounts and unmounts another query, and waits until it is closed: what was unmounted before it would be closed then. */
const closesAnother = async (world: World) => {
  const Another = () => `${useLive("messages.list", { channel: world.channel.id, limit: 99 }).value?.length}`
  const page = render(
    <Provider client={world.chat}>
      <Another />
    </Provider>
  )
  await page.shows("0")
  page.unmount()
  await until(() => sent(world, '"Interrupt"') > 0)
}

const sent = ({ network }: World, part: string) =>
  network.log.filter(({ data, direction }) => direction === "toServer" && data.includes(part)).length

const Bodies = ({ channel }: { readonly channel: Channel }) => {
  const { isOptimistic, value } = useLive("messages.list", { channel: channel.id, limit: 10 })
  if (value === undefined) return "…"
  return `${isOptimistic ? "~" : ""}[${value.map(({ body }) => body).join()}]`
}

describe("useLive", () => {
  test("C15: shows the latest value, now and after every change", async ({ channel, chat, say }) => {
    const page = render(
      <Provider client={chat}>
        <Bodies channel={channel} />
      </Provider>
    )
    await page.shows("[]")
    await say("one")
    await page.shows("[one]")
    await say("two")
    await page.shows("[two,one]")
    page.unmount()
  })

  test("C15: components that read the same query share one subscription, which outlives either of them", async (world) => {
    const { channel, chat, say } = world
    const Two = ({ both }: { readonly both: boolean }) => (
      <Provider client={chat}>
        {both && <Bodies channel={channel} />}|<Bodies channel={channel} />
      </Provider>
    )
    const page = render(<Two both />)
    await page.shows("[]|[]")
    page.render(<Two both={false} />)
    await say("one")
    await page.shows("|[one]")
    expect(sent(world, '"tag":"live:messages.list"')).toBe(1)
    page.unmount()
  })

  test("C15: StrictMode mounts twice and subscribes once", async (world) => {
    const { channel, chat, network, say } = world
    const page = render(
      <StrictMode>
        <Provider client={chat}>
          <Bodies channel={channel} />
        </Provider>
      </StrictMode>
    )
    await page.shows("[]")
    await closesAnother(world)
    await say("one")
    await page.shows("[one]")
    // One subscription and one interruption are those of the other query.
    expect([network.wires.size, sent(world, '"tag":"live:messages.list"'), sent(world, '"Interrupt"')]).toEqual([
      1, 2, 1
    ])
    page.unmount()
  })

  test("C15: a query is closed a moment after its last component was unmounted, and kept until then", async (world) => {
    const { channel, chat, network } = world
    const Maybe = ({ shown }: { readonly shown: boolean }) => (
      <Provider client={chat}>{shown ? <Bodies channel={channel} /> : "none"}</Provider>
    )
    const page = render(<Maybe shown />)
    await page.shows("[]")
    await lingering(async () => {
      page.render(<Maybe shown={false} />)
      await page.shows("none")
      page.render(<Maybe shown />)
      await page.shows("[]")
    })
    expect(sent(world, '"tag":"live:messages.list"')).toBe(1)
    page.render(<Maybe shown={false} />)
    await until(() => network.wires.size === 0)
    page.render(<Maybe shown />)
    await page.shows("[]")
    expect(network.wires.size).toBe(1)
    page.unmount()
    await until(() => network.wires.size === 0)
  })

  test("C15: another payload is another query", async ({ channel, chat, say }) => {
    await say("one")
    await say("two")
    const Latest = () => {
      const [limit, setLimit] = useState(1)
      const { value } = useLive("messages.list", { channel: channel.id, limit })
      return (
        <>
          [{value?.map(({ body }) => body).join()}]
          <button type="button" onClick={() => setLimit(2)} />
        </>
      )
    }
    const page = render(
      <Provider client={chat}>
        <Latest />
      </Provider>
    )
    await page.shows("[two]")
    page.click("")
    await page.shows("[two,one]")
    page.unmount()
  })

  test("C15: no render shows two queries at two versions", async ({ channel, chat, say }) => {
    const Twice = () => {
      const { value: five } = useLive("messages.list", { channel: channel.id, limit: 5 })
      const { value: ten } = useLive("messages.list", { channel: channel.id, limit: 10 })
      if (five === undefined || ten === undefined) return "…"
      return `${five.length}/${ten.length}`
    }
    const seen: Array<string | null> = []
    const page = render(
      <Provider client={chat}>
        <Profiler id="twice" onRender={() => seen.push(page.text())}>
          <Twice />
        </Profiler>
      </Provider>
    )
    await page.shows("0/0")
    for (let i = 1; i < 5; i++) {
      await say(`${i}`)
      await page.shows(`${i}/${i}`)
    }
    expect(seen.filter((text) => !["", "…", "0/0", "1/1", "2/2", "3/3", "4/4"].includes(text ?? ""))).toEqual([])
    page.unmount()
  })

  test("C15: needs a provider", async ({ channel }) => {
    const page = render(
      <Boundary>
        <Bodies channel={channel} />
      </Boundary>
    )
    await page.shows("caught these hooks have no Provider above them")
    page.unmount()
  })
})

describe("useLiveSuspense", () => {
  const Channels = () => {
    const { value } = useLiveSuspense("channels.list", {})
    expectTypeOf(value).toEqualTypeOf<ReadonlyArray<Channel>>()
    return value.map(({ name }) => name).join()
  }

  test("C15: the fallback is shown until there is a value", async (world) => {
    const page = await lingering(async () => {
      const page = render(
        <StrictMode>
          <Provider client={world.chat}>
            <Suspense fallback="…">
              <Channels />
            </Suspense>
          </Provider>
        </StrictMode>
      )
      await page.shows("…")
      await page.shows("general")
      return page
    })
    expect(sent(world, '"tag":"live:channels.list"')).toBe(1)
    await closesAnother(world)
    expect(sent(world, '"Interrupt"')).toBe(1)
    page.unmount()
  })

  test("C15: the Suspense boundary may be above the provider", async (world) => {
    const page = await lingering(async () => {
      const page = render(
        <StrictMode>
          <Suspense fallback="…">
            <Provider client={world.chat}>
              <Channels />
            </Provider>
          </Suspense>
        </StrictMode>
      )
      await page.shows("general")
      return page
    })
    expect(sent(world, '"tag":"live:channels.list"')).toBe(1)
    page.unmount()
  })
})

describe("useLiveSuspense, unmounted or failed", () => {
  let renders = 0
  const Names = () => {
    renders++
    return useLiveSuspense("channels.list", {})
      .value.map(({ name }) => name)
      .join()
  }
  const Page = ({ chat, shown }: { readonly chat: Chat; readonly shown: boolean }) => (
    <Provider client={chat}>
      <Suspense fallback="…">{shown ? <Names /> : "none"}</Suspense>
    </Provider>
  )

  test("C15: a component that is unmounted while it waits keeps no socket", async ({ chat, network }) => {
    network.hold()
    const page = render(<Page chat={chat} shown />)
    await until(() => network.wires.size === 1)
    page.render(<Page chat={chat} shown={false} />)
    await page.shows("none")
    await until(() => network.wires.size === 0)
    network.release()
    page.unmount()
  })

  test("C15: the page may change while a component waits", async ({ chat, network }) => {
    network.hold()
    const Beside = ({ count }: { readonly count: number }) => (
      <>
        {count} <Page chat={chat} shown />
      </>
    )
    const page = render(<Beside count={0} />)
    await page.shows("0 …")
    for (const count of [1, 2, 3]) {
      page.render(<Beside count={count} />)
      await page.shows(`${count} …`)
    }
    network.release()
    await page.shows("3 general")
    page.unmount()
  })

  test("C15: a component that waits for long keeps its subscription", async (world) => {
    const { chat, network } = world
    network.hold()
    const page = render(<Page chat={chat} shown />)
    const before = renders
    // It is rendered again each second, to see whether it is still there.
    await until(() => renders === before + 3)
    expect(page.text()).toBe("…")
    network.release()
    await page.shows("general")
    expect([network.wires.size, sent(world, '"tag":"live:channels.list"'), sent(world, '"Interrupt"')]).toEqual([
      1, 1, 0
    ])
    page.unmount()
  })
})

describe("useMutation", () => {
  const Sender = ({ author, channel }: { readonly author: string; readonly channel: Channel["id"] }) => {
    const [outcome, setOutcome] = useState("")
    const [send, isPending] = useMutation("messages.send", {
      optimistic: (view, { author, body, channel }) => {
        const message = new Message({
          id: MessageId.make("local"),
          sentAt: DateTime.makeUnsafe(0),
          author,
          body: `${body}!`,
          channel
        })
        view.update("messages.list", { channel, limit: 10 }, (rows) => [message, ...rows])
      }
    })
    const onClick = async () => {
      const outcome = await send({ channel, author, body: "hello" })
      setOutcome(outcome._tag === "Success" ? ` said by ${outcome.value.author}` : ` ${outcome.error._tag}`)
    }
    return (
      <>
        {isPending ? " sending" : outcome}
        <button type="button" onClick={onClick}>
          send
        </button>
      </>
    )
  }

  test("C15: changes live values at once, and returns the outcome", async (world) => {
    const page = render(
      <Provider client={world.chat}>
        <Bodies channel={world.channel} />
        <Sender author="ada" channel={world.channel.id} />
      </Provider>
    )
    await page.shows("[]send")
    await until(() => world.network.inFlight === 0)
    world.network.hold()
    page.click("send")
    await page.shows("~[hello!] sendingsend")
    world.network.release()
    await page.shows("[hello] said by adasend")
    page.unmount()
  })

  test("C15: a typed failure is returned as data", async (world) => {
    const page = render(
      <Provider client={world.chat}>
        <Sender author="ada" channel={ChannelId.make("nowhere")} />
      </Provider>
    )
    await page.shows("send")
    page.click("send")
    await page.shows(" ChannelNotFoundsend")
    page.unmount()
  })

  test("C15: unmounting a component does not cancel its mutation", async (world) => {
    const page = render(
      <Provider client={world.chat}>
        <Sender author="ada" channel={world.channel.id} />
      </Provider>
    )
    await page.shows("send")
    page.click("send")
    page.unmount()
    const list = world.chat.query("messages.list", { channel: world.channel.id, limit: 10 })
    let rows: ReadonlyArray<Message> = []
    for (let i = 0; i < 50 && rows.length === 0; i++) rows = await Effect.runPromise(list)
    expect(rows.map(({ body }) => body)).toEqual(["hello"])
  })
})

describe("usePages", () => {
  const Log = ({ channel }: { readonly channel: Channel }) => {
    const { hasMore, isLoading, items, loadMore } = usePages("messages.page", { channel: channel.id, size: 2 })
    expectTypeOf(items).toEqualTypeOf<ReadonlyArray<Message>>()
    if (isLoading && items.length === 0) return "…"
    return (
      <>
        {items.map(({ body }) => body).join()}
        {hasMore && (
          <button type="button" onClick={loadMore}>
            +
          </button>
        )}
      </>
    )
  }

  test("C13 C15: grows by a page, and shows new rows", async (world) => {
    for (const body of ["1", "2", "3", "4", "5"]) await world.say(body)
    const page = render(
      <StrictMode>
        <Provider client={world.chat}>
          <Log channel={world.channel} />
        </Provider>
      </StrictMode>
    )
    await page.shows("5,4+")
    page.click("+")
    await page.shows("5,4,3,2+")
    await world.say("6")
    await page.shows("6,5,4,3,2+")
    page.click("+")
    await page.shows("6,5,4,3,2,1")
    page.unmount()
  })
})

describe("useConnection", () => {
  const State = () => <> {useConnection()._tag}</>

  test("C15: shows the state of the connection", async (world) => {
    const page = render(
      <Provider client={world.chat}>
        <State />
      </Provider>
    )
    await page.shows(" Idle")
    page.render(
      <Provider client={world.chat}>
        <Bodies channel={world.channel} />
        <State />
      </Provider>
    )
    await page.shows("[] Live")
    world.network.offline()
    await page.shows("[] Stale")
    world.network.online()
    await page.shows("[] Live")
    page.unmount()
  })
})

describe("rendering on a server", () => {
  const All = ({ channel, chat }: { readonly channel: Channel; readonly chat: Chat }) => (
    <Provider client={chat}>
      <Bodies channel={channel} />
      <Suspense fallback=" waiting">
        <Names />
      </Suspense>
    </Provider>
  )
  const Names = () => (
    <>
      {" "}
      {useLiveSuspense("channels.list", {})
        .value.map(({ name }) => name)
        .join()}
    </>
  )

  test("C15: renders no value and opens no socket; the browser renders the value", async (world) => {
    const html = renderToString(<All {...world} />)
    expect(html.replaceAll(/<!--.*?-->|<template.*?<\/template>/gs, "")).toBe("… waiting")
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(world.network.log).toEqual([])
    const page = render(<All {...world} />, html)
    await page.shows("[] general")
    await world.say("one")
    await page.shows("[one] general")
    // React reports that the server sent the fallback; it must report nothing else.
    expect(page.complaints.map(String).filter((complaint) => !complaint.includes("is not read on a server"))).toEqual(
      []
    )
    page.unmount()
  })
})

/** Sockets of the backend in the place of the browser's. Gives the protocols that each was asked for, and sends them. */
const browserSockets = Effect.fnUntraced(function* (isSent: boolean) {
  const { transport } = yield* TestApp
  const constructor = Context.get(yield* Layer.build(transport), Socket.WebSocketConstructor)
  const protocols: Array<ReadonlyArray<string>> = []
  const browser = globalThis.WebSocket
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      globalThis.WebSocket = class {
        constructor(url: string, asked: Array<string>) {
          protocols.push(asked)
          // biome-ignore lint/correctness/noConstructorReturn: it is what the client gets from `new WebSocket`
          return constructor(url, isSent ? asked : []) as never
        }
      } as never
    }),
    () =>
      Effect.sync(() => {
        globalThis.WebSocket = browser
      })
  )
  return protocols
})

class WhoApi extends Api.make(Query.make("who", { payload: {}, success: Schema.NullOr(Schema.String) })) {}
const whoApp = App.make({
  api: WhoApi,
  tables: [],
  handlers: WhoApi.toLayer({ who: () => Effect.map(Auth.identity, ({ subject }) => subject) })
})

describe("Provider", () => {
  it.live("A14: uses the token of the latest render: the open socket gets it, and live queries show its caller", () =>
    Effect.gen(function* () {
      const { object, url } = yield* TestApp
      const protocols = yield* browserSockets(true)
      const hooks = createHooks(WhoApi)
      const Who = () => `${hooks.useLive("who", {}).value}`
      const tokenOf = (subject: string) => Auth.testToken({ subject, claims: {} })
      const pageOf = (token?: string) => (
        <StrictMode>
          <hooks.Provider url={url} {...(token === undefined ? {} : { token })}>
            <Who />
          </hooks.Provider>
        </StrictMode>
      )
      const page = render(pageOf(tokenOf("ada")))
      yield* Effect.promise(() => page.shows("ada"))
      page.render(pageOf(tokenOf("bo")))
      yield* Effect.promise(() => page.shows("bo"))
      // The same token again is not sent again.
      const exchanged = () => object().network.log.filter(({ data }) => data.includes("dormouse.authenticate")).length
      const before = exchanged()
      page.render(pageOf(tokenOf("bo")))
      page.render(pageOf(tokenOf("cy")))
      yield* Effect.promise(() => page.shows("cy"))
      expect([exchanged() - before, protocols.length]).toEqual([1, 1])
      // The next connection has it as well.
      object().network.cut()
      yield* Effect.promise(() => until(() => protocols.length === 2 && object().network.wires.size === 1))
      expect(protocols[1]).toEqual(["dormouse", `dormouse.bearer.${tokenOf("cy")}`])
      // A provider without a token has a client of its own.
      page.render(pageOf())
      yield* Effect.promise(() => page.shows("null"))
      page.render(pageOf(tokenOf("ada")))
      yield* Effect.promise(() => page.shows("ada"))
      page.unmount()
      yield* Effect.promise(() => until(() => object().network.wires.size === 0))
    }).pipe(
      Effect.provide(
        TestApp.layer(whoApp, { auth: Auth.layerFirst(Auth.layerTest, Auth.layerAnonymous), enter: () => true })
      )
    )
  )

  it.live("C15: makes a client for an address, and gets the token at each connection", () =>
    Effect.gen(function* () {
      const { object, url } = yield* TestApp
      const protocols = yield* browserSockets(false)
      let tokens = 0
      const Names = () => `[${useLive("channels.list", {}).value?.length ?? "…"}]`
      const page = render(
        <StrictMode>
          <Provider url={url} tenant="acme" token={async () => `token-${tokens++}`}>
            <Names />
          </Provider>
        </StrictMode>
      )
      yield* Effect.promise(() => page.shows("[0]"))
      object("acme").network.cut()
      yield* Effect.promise(() => until(() => protocols.length === 2 && object("acme").network.wires.size === 1))
      // Between the two, a token may have been asked for to renew the first.
      const [first, second] = protocols.map(([, bearer]) => bearer)
      expect([first, second]).toEqual([
        "dormouse.bearer.token-0",
        expect.stringMatching(/^dormouse\.bearer\.token-[1-9]\d*$/)
      ])
      page.unmount()
      yield* Effect.promise(() => until(() => object("acme").network.wires.size === 0))
    }).pipe(Effect.provide(TestApp.layer(app)))
  )
})

class Refusing extends Schema.TaggedError<Refusing>()("Refusing", {}) {}
class RefusingApi extends Api.make(
  Query.make("refuse", { success: Schema.Int, error: Refusing }),
  Query.make("break", { success: Schema.Int })
) {}
let isRefusing = true
const refusingApp = App.make({
  api: RefusingApi,
  tables: [],
  handlers: RefusingApi.toLayer({
    refuse: () => (isRefusing ? Effect.fail(new Refusing()) : Effect.succeed(1)),
    break: () => Effect.die("broken")
  })
})

describe("failures", () => {
  const hooks = createHooks(RefusingApi)
  afterEach(() => {
    isRefusing = true
  })

  it.live("C15: a declared error is data, or thrown by useLiveSuspense; a defect is always thrown", () =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(RefusingApi)
      const Refused = () => <>{hooks.useLive("refuse", undefined).error?._tag ?? "…"}</>
      const Waiting = () => <>{hooks.useLiveSuspense("refuse", undefined).value}</>
      const Broken = () => <>{hooks.useLive("break", undefined).value}</>
      const page = render(
        <hooks.Provider client={client}>
          <Refused />{" "}
          <Boundary>
            <Waiting />
          </Boundary>{" "}
          <Boundary>
            <Broken />
          </Boundary>
        </hooks.Provider>
      )
      const expected = "Refusing caught Refusing caught the server could not answer; the cause is in its log"
      yield* Effect.promise(() => until(() => page.text().startsWith(expected), page.text))
      page.unmount()
    }).pipe(Effect.provide(TestApp.layer(refusingApp)))
  )

  it.live("C15: rendering an error boundary's children again asks again, at once", () =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(RefusingApi)
      const Waiting = () => <>{hooks.useLiveSuspense("refuse", undefined).value}</>
      const Page = ({ attempt }: { readonly attempt: number }) => (
        <StrictMode>
          <hooks.Provider client={client}>
            <Suspense fallback="…">
              <Boundary key={attempt}>
                <Waiting />
              </Boundary>
            </Suspense>
          </hooks.Provider>
        </StrictMode>
      )
      const page = render(<Page attempt={1} />)
      yield* Effect.promise(() => page.shows("caught Refusing"))
      isRefusing = false
      // The hooks note what was thrown in a later turn.
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))
      page.render(<Page attempt={2} />)
      yield* Effect.promise(() => page.shows("1"))
      page.unmount()
    }).pipe(Effect.provide(TestApp.layer(refusingApp)))
  )

  it.live("C15: a component that is mounted anew after a failure does not show the old one", () =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(RefusingApi)
      const seen: Array<string> = []
      const Shown = () => {
        const { error, value } = hooks.useLive("refuse", undefined)
        const text = error?._tag ?? String(value)
        seen.push(text)
        return text
      }
      const Page = ({ attempt }: { readonly attempt: number }) => (
        <hooks.Provider client={client}>
          <Shown key={attempt} />
        </hooks.Provider>
      )
      const page = render(<Page attempt={1} />)
      yield* Effect.promise(() => page.shows("Refusing"))
      page.render(<Page attempt={0} />)
      yield* Effect.promise(() => until(() => seen.includes("undefined")))
      isRefusing = false
      seen.length = 0
      page.render(<hooks.Provider client={client}>{null}</hooks.Provider>)
      yield* Effect.promise(() => page.shows(""))
      page.render(<Page attempt={2} />)
      yield* Effect.promise(() => page.shows("1"))
      expect(seen.filter((text) => text === "Refusing")).toEqual([])
      page.unmount()
    }).pipe(Effect.provide(TestApp.layer(refusingApp)))
  )
})
