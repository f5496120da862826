/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { newTenant, type Peer } from "../deployment/Deployment.ts"
import { WorkerdProcess } from "../deployment/workerd.ts"
import { isLong, Random, seeds, startSeed } from "../random.ts"
import { suite } from "./groupCommitCases.ts"

/** workerd in a process of its own, many sockets, and kills while their mutations share commits. */

const entry = (name: string) => fileURLToPath(new URL(`../worker/process/${name}.ts`, import.meta.url))

suite("Group commit in a process of its own", async () => {
  const [notes, limited] = [await WorkerdProcess.start(entry("notes")), await WorkerdProcess.start(entry("limited"))]
  return {
    app: notes.deployment,
    limited: limited.deployment,
    close: async () => {
      await Promise.all([notes.close(), limited.close()])
    }
  }
})

const socketCount = 24
const kills = isLong ? 20 : 4

/** What was sent over one socket, and what was answered. */
interface Sent {
  readonly body: string
  readonly number: string
  readonly peer: Peer
  readonly id: string
}

const isAnswered = ({ id, peer }: Sent) => peer.exits(id)[0]?._tag === "Success"

/**
 * Sends numbered mutations over many sockets, kills the process meanwhile, and compares what was answered with the rows that
 * the next process finds. Then it sends everything again under its number.
 */
const killAtRandom = async (server: WorkerdProcess, random: Random) => {
  const tenant = newTenant("crash")
  const all: Array<Sent> = []
  const lost: Array<string> = []
  for (let kill = 0; kill < kills; kill++) {
    const peers = await Promise.all(Array.from({ length: socketCount }, () => server.deployment.connect(tenant)))
    let isWriting = true
    const writers = peers.map(async (peer, i) => {
      for (let n = 0; isWriting; n++) {
        const body = `${kill} ${i} ${n}`
        const number = `crash-${kill}-${i}-client/${n}`
        const id = peer.ask("notes.add", { body }, [["dormouse-mutation", number]])
        all.push({ body, number, peer, id })
        await peer.until(() => !isWriting || peer.closed !== undefined || peer.exits(id)[0], 60_000)
        if (peer.closed !== undefined) return
      }
    })
    // The kill comes after a random number of answers.
    const answers = socketCount + random.int(100)
    const count = () => peers.reduce((sum, { messages }) => sum + messages.length, 0)
    await expect.poll(count, { interval: 1, timeout: 120_000 }).toBeGreaterThanOrEqual(answers)
    await server.kill()
    isWriting = false
    await Promise.all(writers)
    await server.start()
    const reader = await server.deployment.connect(tenant)
    const exit: any = await reader.call("notes.list", {})
    const stored: ReadonlyArray<string> = exit.value.map(({ body }: { readonly body: string }) => body)
    expect(new Set(stored).size).toBe(stored.length)
    for (const sent of all) if (isAnswered(sent) && !stored.includes(sent.body)) lost.push(sent.body)
    const unknown = stored.filter((body) => !all.some((sent) => sent.body === body))
    expect(unknown).toEqual([])
    reader.close(1000)
  }
  const answered = all.filter(isAnswered).length
  // Every mutation again under its number: all of them are then done, and done once.
  const peer = await server.deployment.connect(tenant)
  const again = ({ body, number }: Sent) => peer.call("notes.add", { body }, [["dormouse-mutation", number]])
  for (let i = 0; i < all.length; i += socketCount) await Promise.all(all.slice(i, i + socketCount).map(again))
  const exit: any = await peer.call("notes.list", {})
  const stored: ReadonlyArray<string> = exit.value.map(({ body }: { readonly body: string }) => body)
  peer.close(1000)
  return { all, answered, unanswered: all.length - answered, lost, stored }
}

describe("kills while many sockets share commits", () => {
  const servers = new Map<string, WorkerdProcess>()
  beforeAll(async () => {
    for (const name of ["notes", "hasty"]) servers.set(name, await WorkerdProcess.start(entry(name)))
  })
  afterAll(async () => {
    for (const server of servers.values()) await server.close()
  })

  it("T2 T3: nothing that was answered is lost, and what was not can be sent again and is done once", async () => {
    const { all, answered, lost, stored, unanswered } = await killAtRandom(
      servers.get("notes")!,
      new Random(startSeed())
    )
    console.log(`${all.length} mutations, ${answered} answered before a kill, ${unanswered} not`)
    expect(lost).toEqual([])
    expect(answered).toBeGreaterThan(socketCount)
    expect(unanswered).toBeGreaterThan(0)
    expect([...stored].sort()).toEqual(all.map(({ body }) => body).sort())
  })

  it("control: an object that answers before it commits is found out", async () => {
    for (const seed of seeds(5)) {
      const { lost } = await killAtRandom(servers.get("hasty")!, new Random(seed))
      if (lost.length > 0) return
    }
    expect.fail("five times nothing was lost")
  })
})
