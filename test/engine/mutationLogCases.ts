import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { RequestSession } from "../../src/engine/rpc/SessionHeader.ts"
import { bodies, call, type Deployment, defectOf, errorOf, newTenant, post, request } from "../deployment/Deployment.ts"
import { forAllAsync, type Random, Violation } from "../random.ts"

const header = "dormouse-mutation"
const mismatch = { _tag: "CallError", reason: { _tag: "MutationMismatch" } }
const unreadable = { _tag: "CallError", reason: { _tag: "OutcomeUnreadable" } }
const numbered = (id: string): ReadonlyArray<readonly [string, string]> => [[header, id]]

/**
 * Mutations that are sent again with the same id. `limited` is an app with small limits, and `callAs` calls it over HTTP as
 * a caller of the test's choice.
 */
export const suite = (
  name: string,
  deployments: () => Promise<{
    readonly deployment: Deployment
    readonly limited: Deployment
    readonly callAs: (session: RequestSession, body: string) => Promise<string>
    readonly close?: () => Promise<void>
  }>
) =>
  describe(name, () => {
    let deployment: Deployment
    let limited: Deployment
    let callAs: (session: RequestSession, body: string) => Promise<string>
    let close: (() => Promise<void>) | undefined
    beforeAll(async () => {
      const made = await deployments()
      deployment = made.deployment
      limited = made.limited
      callAs = made.callAs
      close = made.close
    })
    afterAll(() => close?.())

    const overHttp = async (tenant: string, tag: string, payload: unknown, id: string) => {
      const response = await post(deployment, tenant, JSON.stringify(request("1", tag, payload, numbered(id))))
      const messages = (await response.json()) as ReadonlyArray<any>
      return messages.find((message) => message._tag === "Exit").exit
    }

    /** How many outcomes a tenant's object has. */
    const records = async (tenant: string): Promise<number> =>
      (await call(deployment, tenant, "sql", { statement: "SELECT 1 FROM _dormouse_mutations", parameters: 0 })).value

    it("T3: the same id returns the first result, and does not run again", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const first = await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))
      expect(first).toMatchObject({ _tag: "Success", value: { body: "one" } })
      expect(await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))).toEqual(first)
      expect(await bodies(deployment, tenant)).toEqual(["one"])
    })

    it("T3: the same id with another payload is refused, and nothing runs or is recorded", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const first = await peer.call("notes.addMany", { count: 1, body: "one" }, numbered("a-client/1"))
      expect(first).toMatchObject({ _tag: "Success" })
      for (const payload of [
        { count: 2, body: "one" },
        { count: 1, body: "two" },
        { count: 1, body: "one", more: 1 }
      ]) {
        const refused = await peer.call("notes.addMany", payload, numbered("a-client/1"))
        expect(errorOf(refused)).toEqual(mismatch)
      }
      // The order of a payload's fields says nothing.
      expect(await peer.call("notes.addMany", { body: "one", count: 1 }, numbered("a-client/1"))).toEqual(first)
      expect(await bodies(deployment, tenant)).toEqual(["one"])
    })

    it("T3: a number belongs to the caller who used it: another one is refused, and nothing runs", async () => {
      const tenant = newTenant("t3")
      const as = async (subject: string | null, claims: Record<string, string> = {}, body = "one") => {
        const text = JSON.stringify(request("1", "notes.add", { body }, numbered("a-client/1")))
        const messages = JSON.parse(await callAs({ tenant, identity: { subject, claims } }, text))
        return messages.find((message: any) => message._tag === "Exit").exit
      }
      const first = await as("ada")
      expect(first).toMatchObject({ _tag: "Success" })
      expect(errorOf(await as("bob"))).toEqual(mismatch)
      expect(errorOf(await as(null))).toEqual(mismatch)
      // A new token of the same caller may have other claims.
      expect(await as("ada", { role: "admin" })).toEqual(first)
      expect(await bodies(limited, tenant)).toEqual(["one"])
    })

    it("T3: over HTTP and sockets, and across an eviction", async () => {
      const tenant = newTenant("t3")
      const first = await overHttp(tenant, "notes.add", { body: "one" }, "a-client/1")
      const peer = await deployment.connect(tenant)
      expect(await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))).toEqual(first)
      await peer.settled()
      await deployment.evict(tenant)
      expect(await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))).toEqual(first)
      const other = await deployment.connect(tenant)
      expect(await other.call("notes.add", { body: "one" }, numbered("a-client/1"))).toEqual(first)
      expect(await overHttp(tenant, "notes.add", { body: "one" }, "a-client/1")).toEqual(first)
      expect(await bodies(deployment, tenant)).toEqual(["one"])
    })

    it("T3: twice in one message, and from two sockets at the same time", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const other = await deployment.connect(tenant)
      const ask = (id: string) => request(id, "notes.add", { body: "one" }, numbered("a-client/1"))
      peer.sendText(JSON.stringify([ask("a"), ask("b")]))
      other.send(ask("c"))
      const exits = await Promise.all([peer.exit("a"), peer.exit("b"), other.exit("c")])
      expect(exits[0]).toMatchObject({ _tag: "Success" })
      expect(exits[1]).toEqual(exits[0])
      expect(exits[2]).toEqual(exits[0])
      expect(await bodies(deployment, tenant)).toEqual(["one"])
    })

    it("T3: other numbers and other clients are different mutations", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      for (const id of [
        "a-client/0",
        "a-client/1",
        "a-client/01",
        "b-client/1",
        "A-client/1",
        "a-client/999999999999999"
      ]) {
        // Leading zeros do not change a number.
        const body = id.replace("/01", "/1")
        expect(await peer.call("notes.add", { body }, numbered(id))).toMatchObject({ _tag: "Success" })
      }
      const written = ["a-client/0", "a-client/1", "b-client/1", "A-client/1", "a-client/999999999999999"]
      expect([...(await bodies(deployment, tenant))].sort()).toEqual([...written].sort())
    })

    it("T3: a typed failure is an outcome, and the same id returns it again", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const first = await peer.call("notes.addAndEnd", { ending: "typed failure" }, numbered("a-client/1"))
      expect(errorOf(first)).toMatchObject({ _tag: "Refused", why: "because" })
      const again = await peer.call("notes.addAndEnd", { ending: "typed failure" }, numbered("a-client/1"))
      expect(again).toEqual(first)
      expect(await bodies(deployment, tenant)).toEqual([])
    })

    it("T3: an exceeded limit is an outcome as well", async () => {
      const tenant = newTenant("t3")
      const peer = await limited.connect(tenant)
      const first = await peer.call("notes.addMany", { count: 50, body: "x" }, numbered("a-client/1"))
      expect(errorOf(first)).toMatchObject({ reason: { _tag: "LimitExceeded", limit: "rowsWritten" } })
      expect(await peer.call("notes.addMany", { count: 50, body: "x" }, numbered("a-client/1"))).toEqual(first)
      expect(await bodies(limited, tenant)).toEqual([])
    })

    for (const ending of ["defect", "thrown error", "undeclared failure", "sleep", "commit that fails"] as const) {
      it(`T3: an internal error is not an outcome (${ending}): the same id runs again`, async () => {
        const tenant = newTenant("t3")
        const peer = await deployment.connect(tenant)
        const failed = await peer.call("notes.addAndEnd", { ending }, numbered("a-client/1"))
        expect(defectOf(failed)).toMatchObject({ _tag: "InternalError" })
        const again = await peer.call("notes.addAndEnd", { ending: "typed failure" }, numbered("a-client/1"))
        expect(errorOf(again)).toMatchObject({ _tag: "Refused" })
        expect(await bodies(deployment, tenant)).toEqual([])
      })
    }

    it("T3: an outcome that the contract cannot read any more is a typed answer, and nothing runs again", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))
      for (const outcome of [
        `{"_tag":"Success","value":{"title":"one"}}`,
        `{"_tag":"Failure","cause":[{"_tag":"No"}]}`
      ]) {
        // What an earlier version of the contract recorded.
        const statement = `UPDATE _dormouse_mutations SET outcome = '${outcome}'`
        expect(await peer.call("write", { statement })).toMatchObject({ _tag: "Success" })
        const again = await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))
        expect(errorOf(again)).toEqual({ _tag: "CallError", reason: { _tag: "OutcomeUnreadable" } })
        expect(errorOf(await overHttp(tenant, "notes.add", { body: "one" }, "a-client/1"))).toEqual(errorOf(again))
      }
      expect(peer.closed).toBeUndefined()
      expect(await bodies(deployment, tenant)).toEqual(["one"])
    })

    it("T3: an invalid payload is not an outcome", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const refused = await peer.call("notes.add", { body: 5 }, numbered("a-client/1"))
      expect(errorOf(refused)).toMatchObject({ reason: { _tag: "PayloadInvalid" } })
      expect(await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))).toMatchObject({ _tag: "Success" })
    })

    it("T3: an id that was used for another rpc is refused, and nothing runs", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const first = await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))
      const refused = await peer.call("notes.addMany", { count: 3, body: "x" }, numbered("a-client/1"))
      expect(errorOf(refused)).toEqual(mismatch)
      expect(await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))).toEqual(first)
      expect(await bodies(deployment, tenant)).toEqual(["one"])
    })

    const malformed = [
      "",
      "a-client",
      "a-client/",
      "/1",
      "short/1",
      "a-client/-1",
      "a-client/1.5",
      "a-client/one",
      "a-client/1/2",
      "a-client/1/",
      "a-client/1/-1",
      "a-client/1/one",
      "a-client/1/1/1",
      "a client/1",
      "a-client /1",
      "a-client/1234567890123456",
      `${"a".repeat(65)}/1`,
      "ä-client/1",
      "a-client/1\n"
    ]
    for (const id of malformed) {
      it(`T3: a malformed id is refused, and nothing runs: ${JSON.stringify(id)}`, async () => {
        const tenant = newTenant("t3")
        const peer = await deployment.connect(tenant)
        const refused = await peer.call("notes.add", { body: "one" }, numbered(id))
        expect(errorOf(refused)).toMatchObject({ _tag: "CallError", reason: { _tag: "PayloadInvalid" } })
        expect(await bodies(deployment, tenant)).toEqual([])
      })
    }

    it("T3: a number that may have been sent before outcomes were deleted does not run", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const time = (await (await deployment.fetch(`/rpc/time?tenant=${tenant}`)).json()) as number
      const day = 24 * 60 * 60 * 1000
      const add = (number: number, sentAfter: unknown) =>
        peer.call("notes.add", { body: String(number) }, [
          [header, `a-client/${number}`],
          ["dormouse-sent-after", String(sentAfter)]
        ])
      const first = await add(1, time)
      expect(first).toMatchObject({ _tag: "Success" })
      expect(await add(2, time - day + 5 * 60_000)).toMatchObject({ _tag: "Success" })
      // A minute before the end of the day: the clocks of Worker and object may differ.
      expect(errorOf(await add(3, time - day + 50_000))).toEqual(unreadable)
      expect(errorOf(await add(4, time - 2 * day))).toEqual(unreadable)
      // What is recorded is answered, however old it is.
      expect(await add(1, time - 2 * day)).toEqual(first)
      for (const malformed of ["", "-1", "now", "1.5"]) {
        expect(errorOf(await add(5, malformed))).toMatchObject({ reason: { _tag: "PayloadInvalid" } })
      }
      expect(await bodies(deployment, tenant)).toEqual(["1", "2"])
    })

    it("T3: the name of the header is case-insensitive", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const ids: ReadonlyArray<readonly [string, string]> = [["Dormouse-Mutation", "a-client/1"]]
      const first = await peer.call("notes.add", { body: "one" }, ids)
      expect(await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))).toEqual(first)
    })

    it("T3: queries ignore the id and run each time", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      expect(await peer.call("notes.list", {}, numbered("a-client/1"))).toMatchObject({ value: [] })
      await call(deployment, tenant, "notes.add", { body: "one" })
      expect(await peer.call("notes.list", {}, numbered("a-client/1"))).toMatchObject({ value: [{ body: "one" }] })
    })

    it("T3: a repeated mutation does not run live queries", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const live = peer.ask("live:notes.list", {})
      await peer.itemsOf(live, 1)
      peer.send({ _tag: "Ack", requestId: live })
      await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))
      await peer.itemsOf(live, 2)
      peer.send({ _tag: "Ack", requestId: live })
      await peer.call("notes.add", { body: "one" }, numbered("a-client/1"))
      await peer.settled()
      expect(peer.items(live).length).toBe(2)
    })

    it("T3: what a client has settled goes with its next mutation, and late copies do not run again", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const add = (number: string) => peer.call("notes.add", { body: number }, numbered(`a-client/${number}`))
      const first = await add("0/0")
      await add("1/0")
      await add("2/0")
      expect(await records(tenant)).toBe(3)
      // The client has the outcomes of 0 and 1.
      const fourth = await add("3/2")
      expect(await records(tenant)).toBe(2)
      for (const late of ["0/0", "1/0", "0", "1"]) expect(errorOf(await add(late))).toEqual(unreadable)
      // A copy of another caller's is no exception: it may be the same client, with another token.
      expect(errorOf(await overHttp(tenant, "notes.add", { body: "0/0" }, "a-client/0"))).toEqual(unreadable)
      expect(await add("3/2")).toEqual(fourth)
      expect(await add("2/0")).toMatchObject({ _tag: "Success", value: { body: "2/0" } })
      expect(first).toMatchObject({ _tag: "Success" })
      expect([...(await bodies(deployment, tenant))].sort()).toEqual(["0/0", "1/0", "2/0", "3/2"])
    })

    it("T3: what was settled stays settled across an eviction, and a lower number changes nothing", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const add = (number: string) => peer.call("notes.add", { body: number }, numbered(`a-client/${number}`))
      await add("4/4")
      await add("7/6")
      await peer.settled()
      await deployment.evict(tenant)
      expect(errorOf(await add("5/4"))).toEqual(unreadable)
      // The first copy of 6 was held up: it runs, once.
      const sixth = await add("6/4")
      expect(sixth).toMatchObject({ _tag: "Success" })
      expect(errorOf(await add("5/4"))).toEqual(unreadable)
      expect(await add("6/4")).toEqual(sixth)
      expect(await bodies(deployment, tenant)).toEqual(["4/4", "7/6", "6/4"])
    })

    it("T3: a failure settles what came before it, and is settled, as a success", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const fail = (number: string) => peer.call("notes.addAndEnd", { ending: "typed failure" }, numbered(number))
      await peer.call("notes.add", { body: "one" }, numbered("a-client/0/0"))
      const failed = await fail("a-client/1/1")
      expect(errorOf(failed)).toMatchObject({ _tag: "Refused" })
      expect(await records(tenant)).toBe(1)
      expect(await fail("a-client/1/1")).toEqual(failed)
      await fail("a-client/2/1")
      expect(await records(tenant)).toBe(2)
      await fail("a-client/3/3")
      expect(await records(tenant)).toBe(1)
      expect(errorOf(await fail("a-client/1/1"))).toEqual(unreadable)
      expect(await bodies(deployment, tenant)).toEqual(["one"])
    })

    it("T3: a mutation that is rolled back by a defect settles nothing", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const first = await peer.call("notes.add", { body: "one" }, numbered("a-client/0/0"))
      for (const ending of ["defect", "commit that fails"]) {
        const failed = await peer.call("notes.addAndEnd", { ending }, numbered("a-client/1/1"))
        expect(defectOf(failed)).toMatchObject({ _tag: "InternalError" })
        expect(await peer.call("notes.add", { body: "one" }, numbered("a-client/0/0"))).toEqual(first)
      }
    })

    it("T3: a caller settles its own numbers only", async () => {
      const tenant = newTenant("t3")
      const as = async (subject: string | null, number: string, body: string) => {
        const text = JSON.stringify(request("1", "notes.add", { body }, numbered(`a-client/${number}`)))
        const messages = JSON.parse(await callAs({ tenant, identity: { subject, claims: {} } }, text))
        return messages.find((message: any) => message._tag === "Exit").exit
      }
      const adas = [await as("ada", "0/0", "one"), await as("ada", "1/0", "two")]
      for (const number of [5, 7, 9]) {
        expect(await as("bob", `${number}/${number}`, "three")).toMatchObject({ _tag: "Success" })
        expect(await as(null, `${number + 1}/${number + 1}`, "four")).toMatchObject({ _tag: "Success" })
        expect(await as("ada", "0/0", "one")).toEqual(adas[0])
        expect(await as("ada", "1/0", "two")).toEqual(adas[1])
      }
    })

    it("T3: ten thousand mutations of a client that waits for each leave one outcome", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const count = 10_000
      const perMessage = 100
      let most = 0
      for (let from = 0; from < count; from += perMessage) {
        // In one message, and yet one after the other: each is said to be settled by the next.
        const numbers = Array.from({ length: perMessage }, (_, index) => from + index)
        peer.sendText(
          JSON.stringify(
            numbers.map((number) => request(number, "nothingDone", null, numbered(`a-client/${number}/${number}`)))
          )
        )
        await peer.exit(from + perMessage - 1)
        most = Math.max(most, await records(tenant))
      }
      expect(most).toBe(1)
      expect(peer.messages.every((message) => message._tag !== "Exit" || message.exit._tag === "Success")).toBe(true)
    })

    /** What a network does to the mutations of one client: it duplicates, delays, reorders and loses copies and answers. */
    const badNetwork = async (random: Random, afterEach: (tenant: string) => Promise<unknown>) => {
      const tenant = newTenant("t3")
      const tries = 5
      interface Sent {
        readonly body: string
        readonly id: string
        readonly fails: boolean
        exit: unknown
      }
      const sent: Array<Sent> = []
      const network: Array<Sent> = []
      const isOpen = ({ exit }: Sent) => exit === undefined
      const firstOpen = () => {
        const index = sent.findIndex(isOpen)
        return index < 0 ? sent.length : index
      }
      let refused = 0
      let most = 0
      const deliver = async (copy: Sent, isAnswerLost: boolean) => {
        const exit = copy.fails
          ? await overHttp(tenant, "notes.addAndEnd", { ending: "typed failure" }, copy.id)
          : await overHttp(tenant, "notes.add", { body: copy.body }, copy.id)
        if (errorOf(exit)?._tag === "CallError") {
          // Nobody waits for what is refused.
          expect(errorOf(exit)).toEqual(unreadable)
          expect(copy.exit).toBeDefined()
          refused++
        } else if (!isAnswerLost) copy.exit ??= exit
        await afterEach(tenant)
        most = Math.max(most, await records(tenant))
      }
      while (sent.length < 25 || firstOpen() < sent.length) {
        const event = random.int(10)
        if (event < 3 && sent.length < 25 && sent.length - firstOpen() < tries) {
          const number = sent.length
          const id = `a-client/${number}/${firstOpen()}`
          sent.push({ body: `note ${number}`, id, fails: random.chance(0.2), exit: undefined })
          network.push(sent.at(-1)!)
        } else if (event < 5) {
          const open = sent.filter(isOpen)
          if (open.length > 0) network.push(random.pick(open))
        } else if (network.length > 0) {
          const index = random.int(network.length)
          const copy = network[index]!
          if (random.chance(0.7)) network.splice(index, 1)
          await deliver(copy, random.chance(0.3))
        }
      }
      for (const copy of random.shuffle(network)) await deliver(copy, true)
      const stored = await bodies(deployment, tenant)
      const expected = sent.filter(({ fails }) => !fails).map(({ body }) => body)
      return { stored: [...stored].sort(), expected: expected.sort(), most, refused }
    }

    it("T3: copies that a network repeats, delays and reorders run once, and the log stays small", async () => {
      let refused = 0
      await forAllAsync(3, async (random) => {
        const result = await badNetwork(random, async () => {})
        expect(result.stored).toEqual(result.expected)
        // As many as the client may have open, and the newest.
        expect(result.most).toBeLessThanOrEqual(6)
        refused += result.refused
      })
      expect(refused).toBeGreaterThan(0)
    })

    it("control: without what is known of settled numbers, late copies run twice", async () => {
      const forget = (tenant: string) =>
        call(deployment, tenant, "write", { statement: "UPDATE _dormouse_mutations SET below = 0" })
      const network = forAllAsync(1000, async (random) => {
        const { expected, stored } = await badNetwork(random, forget)
        expect(stored.length).toBe(expected.length)
      })
      await expect(network).rejects.toThrow(Violation)
    })

    it("T3: an outcome that is too large to store fails before the commit, with the name of the limit", async () => {
      const tenant = newTenant("t3")
      const peer = await deployment.connect(tenant)
      const body = "x".repeat(1_500_000)
      // The row fits, but its encoded outcome does not: every quote takes a second character.
      const exit = await peer.call("notes.add", { body: `${body}${'"'.repeat(400_000)}` }, numbered("a-client/1"))
      expect(errorOf(exit)).toMatchObject({ _tag: "CallError", reason: { _tag: "LimitExceeded" } })
      expect(await bodies(deployment, tenant)).toEqual([])
    })
  })
