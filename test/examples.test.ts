/// <reference types="node" />
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath, URL } from "node:url"
import * as DateTime from "effect/DateTime"
import { afterAll, describe, expect, it } from "vitest"
import { checkChannels, checkMessages, type Sent } from "../examples/chat/demo-check.ts"
import { addresses } from "../examples/chat/demo-corpus.ts"
import { Channel, ChannelId, Message, MessageId } from "../examples/chat/schema.ts"

/** The commands of the README do what it promises. */

const root = fileURLToPath(new URL("..", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "dormouse-examples-"))
const groups = new Set<number>()
afterAll(() => {
  for (const group of groups) if (isAlive(group)) process.kill(-group, "SIGKILL")
  rmSync(folder, { recursive: true, force: true })
})

/** Runs an npm script in a process group of its own. */
const npm = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) => {
  const child = spawn("npm", args, { cwd: root, env: { ...process.env, ...env }, detached: true })
  groups.add(child.pid!)
  let output = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output += text))
  }
  return { child, output: () => output }
}

const ended = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => (child.exitCode === null ? child.once("exit", resolve) : resolve(child.exitCode)))

const until = async <A>(what: string, look: () => A | undefined): Promise<A> => {
  for (let i = 0; i < 900; i++) {
    const found = look()
    if (found !== undefined) return found
    await setTimeout(100)
  }
  throw new Error(`not within 90 s: ${what}`)
}

const isAlive = (group: number): boolean => {
  try {
    process.kill(-group, 0)
    return true
  } catch {
    return false
  }
}

describe("npm start", () => {
  /** Runs a command that was printed, with the token in its place. */
  const curl = async (url: string, body: string, token?: string) => {
    const headers = token === undefined ? undefined : { authorization: `Bearer ${token}` }
    const response = await fetch(url, { method: "POST", body, ...(headers && { headers }) })
    const [{ exit }] = JSON.parse(await response.text())
    return exit
  }

  /** Starts the chat, runs the commands that it prints, and stops it. */
  const visit = async (signal: NodeJS.Signals, data = "start") => {
    const { child, output } = npm(["start"], {
      PORT: "0",
      DATA: join(folder, data),
      PAGE: join(folder, "page")
    })
    const commands = await until("the commands to call it with", () => {
      if (child.exitCode !== null) throw new Error(output())
      const found = [...output().matchAll(/curl (http:\S+) (-H "[^"]*" )?-d '(.*)'/g)]
      return found.length === 3 ? found : undefined
    })
    const [, url] = commands[0]!
    const [list, anonymous, create] = commands.map((command) => command[3]!)
    const listed = await curl(url!, list!)
    const account = await curl(url!, anonymous!)
    const refused = await curl(url!, create!)
    const created = await curl(url!, create!, account.value.accessToken)
    const page = await (await fetch(url!.replace("/rpc", "/"))).text()
    child.kill(signal)
    const code = await ended(child)
    await until("every process to be gone", () => (isAlive(child.pid!) ? undefined : true))
    return { listed, refused, created, page, code }
  }

  /** When the page that is deployed, and that another `npm start` serves, was built last. */
  const built = () => statSync(join(root, "examples/chat/dist-web"), { throwIfNoEntry: false })?.mtimeMs

  it("builds the page into the folder that PAGE names, and leaves the page of another start alone", async () => {
    const before = built()
    expect((await visit("SIGTERM", "other")).page).toContain("<title>Dormouse chat</title>")
    expect(readdirSync(join(folder, "page"))).toContain("index.html")
    expect(built()).toBe(before)
  })

  it("serves the page, prints working calls, keeps its data, and leaves no process behind", async () => {
    const first = await visit("SIGTERM")
    expect(first).toMatchObject({ code: 0, listed: { _tag: "Success", value: [] }, refused: { _tag: "Failure" } })
    expect(first.created).toMatchObject({ _tag: "Success", value: { name: "general" } })
    expect(first.page).toContain("<title>Dormouse chat</title>")
    const second = await visit("SIGINT")
    expect(second).toMatchObject({ code: 0, listed: { value: [{ name: "general" }] } })
    expect(second.created).toMatchObject({ cause: [{ error: { _tag: "ChannelExists" } }] })
  })
})

describe("npm run minimal", () => {
  it("prints a working call", async () => {
    const { child, output } = npm(["run", "minimal"], { PORT: "0", DATA: join(folder, "minimal") })
    const [, url, body] = await until("the command to call it with", () => {
      if (child.exitCode !== null) throw new Error(output())
      return /curl (http:\S+) -d '(.*)'/.exec(output()) ?? undefined
    })
    const response = await fetch(url!, { method: "POST", body: body! })
    expect(JSON.parse(await response.text())).toMatchObject([{ exit: { _tag: "Success", value: { name: "general" } } }])
    child.kill("SIGTERM")
    expect(await ended(child)).toBe(0)
  })
})

describe("npm run kanban", () => {
  it("builds the page and serves it beside the rpcs", async () => {
    const { child, output } = npm(["run", "kanban"], {
      PORT: "0",
      DATA: join(folder, "kanban"),
      PAGE: join(folder, "kanban-page")
    })
    const url = await until("its address", () => {
      if (child.exitCode !== null) throw new Error(output())
      return /The boards are at (http:\S+)/.exec(output())?.[1]
    })
    expect(await (await fetch(url)).text()).toContain("<title>Dormouse kanban</title>")
    const body = JSON.stringify({ _tag: "Request", id: "1", tag: "boards.list", payload: {}, headers: [] })
    const response = await fetch(`${url}/rpc`, { method: "POST", body })
    expect(JSON.parse(await response.text())).toMatchObject([{ exit: { _tag: "Success", value: [] } }])
    child.kill("SIGTERM")
    expect(await ended(child)).toBe(0)
  })
})

describe("npm run demo", () => {
  it("sends a corpus over sockets and finds every message", async () => {
    const { child, output } = npm(["run", "demo", "--", "--addresses", "5"])
    expect(await ended(child), output()).toBe(0)
    expect(output()).toContain("every message exactly once and in order")
    expect(isAlive(child.pid!)).toBe(false)
  })

  it("checks an address with one list", () => {
    const corpus = addresses()
    expect(corpus.length).toBeGreaterThan(200)
    expect(new Set(corpus.map(({ channel }) => channel)).size).toBe(corpus.length)
    expect(Math.max(...corpus.map(({ messages }) => messages.length))).toBeLessThan(1000)
    expect(corpus.flatMap(({ messages }) => messages).filter((message) => message.trim() === "")).toEqual([])
  })

  const sentAt = DateTime.makeUnsafe(0)
  const channel = Channel.make({
    id: ChannelId.make("c"),
    name: "1790 George Washington",
    access: "public",
    owner: "george",
    createdAt: sentAt
  })
  const message = (id: string, body: string, author = "george") =>
    Message.make({ id: MessageId.make(id), channel: channel.id, author, name: "George", body, sentAt })
  const messages = [message("1", "one"), message("2", "two"), message("3", "three")]
  const [one, two, three] = messages as [Message, Message, Message]
  const sent: Sent = {
    address: { channel: channel.name, messages: ["one", "two", "three"] },
    author: "george",
    channel,
    messages
  }

  it("finds no problem if everything was received", () => {
    expect(checkMessages(sent, [three, two, one])).toEqual([])
    expect(checkChannels([sent], [channel])).toEqual([])
  })

  it.each([
    ["a message is lost", [three, one]],
    ["the last message is lost", [two, one]],
    ["a message is there twice", [three, two, two, one]],
    ["a message was sent twice", [message("4", "three"), three, two, one]],
    ["two messages are swapped", [two, three, one]],
    ["a text is another", [three, message("2", "zwei"), one]],
    ["an author is another", [three, message("2", "two", "john"), one]],
    ["a row is another", [three, message("4", "two"), one]]
  ])("sees when %s", (_, listed) => {
    expect(checkMessages(sent, listed)).not.toEqual([])
  })

  it("detects a lost or duplicated channel", () => {
    expect(checkChannels([sent], [])).not.toEqual([])
    expect(checkChannels([sent], [channel, channel])).not.toEqual([])
  })
})
