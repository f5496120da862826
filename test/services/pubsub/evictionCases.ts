import * as Result from "effect/Result"
import { Auth } from "effect-dormouse/auth"
import { expect, it, vi } from "vitest"
import * as Patch from "../../../src/protocol/Patch.ts"
import { PresenceList } from "../../../src/services/pubsub/PresenceList.ts"
import { TopicReader } from "../../../src/services/pubsub/TopicReader.ts"
import { type Deployment, errorOf, newTenant, type Peer, post, request } from "../../deployment/Deployment.ts"
import { evicting } from "../../deployment/evicting.ts"
import { Violation } from "../../random.ts"

/**
 * A small scenario of readers and presence in which the object loses its heap after any of the steps, or after each. Whichever
 * it is: what a reader got and what it was told that it missed is everything, in order, and who is here is here.
 */

/** How many steps the scenario has. */
const steps = 12

/** Milliseconds after which something counts as lost that has not arrived. */
const patience = 20_000

/** Runs the scenario, with an eviction after the steps that are named. A control may wait for who is here for less long. */
const run = async (
  app: Deployment,
  isEvictedAfter: (step: number) => boolean,
  hereWithin = patience
): Promise<void> => {
  /** Asks again until an answer is as expected. */
  const eventually = async (
    what: string,
    look: () => unknown,
    expected: unknown,
    timeout = patience
  ): Promise<void> => {
    const wanted = JSON.stringify(expected)
    const seen = () => JSON.stringify(look())
    const arrived = expect.poll(seen, { interval: 10, timeout }).toBe(wanted)
    await arrived.catch(() => {
      throw new Violation(`${what}: ${seen()}, expected ${wanted}`)
    })
  }
  const tenant = newTenant("topics")
  const { evict } = evicting(app)
  const connect = (subject: string) => app.connect(tenant, "header", Auth.testToken({ subject }))
  const call = async (tag: string, payload: unknown) => {
    const response = await post(app, tenant, JSON.stringify(request("1", tag, payload)))
    if (!(await response.text()).includes('"Success"')) throw new Error(`${tag} failed`)
  }
  await call("join", { room: "a", subject: "ada" })
  const [fast, slow, bob, eve] = await Promise.all(["ada", "ada", "bob", "eve"].map(connect))
  const peers = [fast!, slow!, bob!, eve!]
  const acknowledged = new Map<Peer, number>()
  const acknowledge = (peer: Peer) => {
    const chunks = peer.messages.filter(({ _tag }) => _tag === "Chunk").length
    for (let i = acknowledged.get(peer) ?? 0; i < chunks; i++) peer.send({ _tag: "Ack", requestId: "r" })
    acknowledged.set(peer, chunks)
  }
  /** Sends a frame, and waits until it was handled. */
  const frame = async (peer: Peer, message: unknown) => {
    peer.send(message)
    await peer.call("members", {})
  }
  let published = 0
  const lastOf = (peer: Peer) => peer.items("r").at(-1)?.message.text
  const tell = async (count: number) => {
    for (let i = 0; i < count; i++) await eve!.call("tell", { room: "a", texts: [`${published++}`] })
    await eventually("the last message", () => lastOf(fast!), `${published - 1}`)
    acknowledge(fast!)
    await fast!.call("members", {})
  }
  const here = () => {
    let value: any
    for (const frame of eve!.items("here")) {
      value = frame._tag === "Snapshot" ? frame.value : Result.getOrThrow(Patch.apply(value, frame.ops))
    }
    eve!.send({ _tag: "Ack", requestId: "here" })
    return value?.map(({ state, subject }: any) => `${subject} ${state.mood}`)
  }
  const join = (id: string, mood: string) => request(id, "here.join", { key: { room: "a" }, state: { mood } })
  const scenario: ReadonlyArray<() => Promise<unknown>> = [
    () => frame(fast!, request("r", "told", { room: "a" })),
    () => frame(slow!, request("r", "told", { room: "a" })),
    () => frame(bob!, join("j", "glad")),
    () => frame(eve!, request("here", "live:here", { room: "a" })),
    () => tell(9),
    // Beyond 16 chunks the slow reader is sent nothing, and beyond its buffer it misses some.
    () => tell(13),
    () => frame(bob!, join("k", "sad")),
    () => frame(bob!, { _tag: "Interrupt", requestId: "j" }),
    () => eventually("who is here", here, ["bob sad"], hereWithin),
    async () => {
      acknowledge(slow!)
      await slow!.call("members", {})
    },
    () => tell(1),
    () => call("expel", { room: "a", subject: "ada", text: "nobody reads this" })
  ]
  expect(scenario.length).toBe(steps)
  for (const [i, step] of scenario.entries()) {
    if (i === steps - 1) await eventually("the last message", () => lastOf(slow!), `${published - 1}`)
    await step()
    if (isEvictedAfter(i)) await evict(tenant)
  }
  for (const reader of [fast!, slow!]) {
    await eventually("the end", () => errorOf(reader.exits("r")[0] as any)?._tag, "NoMember")
    let next = 0
    for (const { message, missed = 0 } of reader.items("r")) {
      next += missed
      if (message.text !== `${next}`) throw new Violation(`got ${message.text}, ${missed} missed, expected ${next}`)
      next++
    }
    if (next !== published) throw new Violation(`got and missed ${next} of ${published}`)
  }
  if (fast!.items("r").some(({ missed }) => missed !== undefined)) throw new Violation("the fast reader missed some")
  bob!.close()
  await eventually("who is here in the end", here, [])
  for (const peer of peers) peer.close()
}

export const evictionCases = (here: () => Deployment): void => {
  it("PS3, PS4, PS5, PS9: an eviction after any step, or after each, loses and repeats nothing that is not told", async () => {
    const one = Array.from({ length: steps }, (_, step) => run(here(), (i) => i === step))
    await Promise.all([run(here(), () => false), run(here(), () => true), ...one])
  })

  it("control: the scenario finds a reader that is not told what was lost, and somebody who is not here any more", async () => {
    const untold = vi.spyOn(TopicReader.prototype, "restored").mockImplementation(function (this: TopicReader) {
      this.granted()
    })
    // After the step in which something is kept for the slow reader.
    const lost = await run(here(), (i) => i === 5).catch((violation) => violation)
    expect(lost).toBeInstanceOf(Violation)
    expect(lost.message).toContain("missed")
    untold.mockRestore()
    const { reader } = PresenceList.prototype
    const absent = vi.spyOn(PresenceList.prototype, "reader").mockImplementation(function (this: PresenceList, ...of) {
      return { ...reader.apply(this, of), restored: () => {} }
    })
    const gone = await run(here(), (i) => i === 7, 2000).catch((violation) => violation)
    expect(gone).toBeInstanceOf(Violation)
    expect(gone.message).toContain("who is here")
    absent.mockRestore()
  })
}
