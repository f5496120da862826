import { Auth } from "effect-dormouse/auth"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type Deployment, errorOf, newTenant, post, request } from "../../deployment/Deployment.ts"
import { ran } from "../../worker/jobs.ts"
import { held } from "../../worker/schedules.ts"

/** Jobs, crons and queues of the app in `schedules.ts`, in memory and in workerd. */

/** A deployment in which time passes. */
export interface Timed extends Deployment {
  /** Now, in milliseconds, by the clock of the objects. */
  readonly now: () => Promise<number>
  /** Resolves when so many milliseconds have passed. What follows from that may still happen. */
  readonly pass: (millis: number) => Promise<void>
  /** Starts the object of a tenant again, with the second version of the app. */
  readonly deploy: (tenant: string) => Promise<Pick<Deployment, "fetch">>
  readonly close?: () => Promise<void>
  /** How the names of its tenants begin; `jobs` unless given. */
  readonly prefix?: string
}

type Planned = {
  readonly what: "add" | "fail" | "die" | "once" | "act" | "actFail" | "actHang"
  readonly text: string
  readonly as?: "caller" | "system"
  readonly key?: string
  readonly retry?: number
  readonly maxAttempts?: number
}

const success = (exit: any): any => {
  if (exit?._tag !== "Success") throw new Error(JSON.stringify(exit))
  return exit.value
}

/** A job that must not run while a test looks at it is an hour away. */
const hour = 3_600_000

/** What a client in the name of a subject does with a tenant. */
export const clientOf = (deployment: Pick<Deployment, "fetch">, tenant: string, subject = "ada", claims = {}) => {
  /** The exits of calls in one body, which run in one turn of the object. */
  const together = async (...calls: ReadonlyArray<readonly [string, unknown]>): Promise<ReadonlyArray<any>> => {
    const headers = { authorization: `Bearer ${Auth.testToken({ subject, claims })}` }
    const body = JSON.stringify(calls.map(([tag, payload], i) => request(`${i}`, tag, payload)))
    const response = await post(deployment as Deployment, tenant, body, headers)
    const messages = (await response.json()) as ReadonlyArray<any>
    if (!Array.isArray(messages)) return calls.map(() => ({ status: response.status }))
    const exits = messages.filter(({ _tag }) => _tag === "Exit")
    return calls.map((_, i) => exits.find(({ requestId }) => requestId === `${i}`)?.exit)
  }
  const call = async (tag: string, payload: unknown = {}): Promise<any> => (await together([tag, payload]))[0]
  const value = async (tag: string, payload: unknown = {}) => success(await call(tag, payload))
  return {
    call,
    together,
    value,
    reason: async (tag: string, payload: unknown) => {
      const error = errorOf(await call(tag, payload))
      return error?._tag === "CallError" ? error.reason : error
    },
    plan: (delay: number, ...jobs: ReadonlyArray<Planned>): Promise<ReadonlyArray<string>> =>
      value("after", { delay, jobs }),
    lines: () => value("lines") as Promise<ReadonlyArray<any>>,
    texts: async (): Promise<ReadonlyArray<string>> => (await value("lines")).map(({ text }: any) => text),
    jobs: (state?: "waiting" | "running" | "failed"): Promise<ReadonlyArray<any>> =>
      value("jobs", state === undefined ? {} : { state }),
    job: (id: string | undefined): Promise<any> => value("job", { id })
  }
}

export const suite = (name: string, here: () => Promise<Timed>) =>
  describe(name, () => {
    let app: Timed
    beforeAll(async () => {
      app = await here()
    })
    afterAll(() => app?.close?.())

    const open = (subject?: string, tenant = newTenant(app.prefix ?? "jobs")) => ({
      ...clientOf(app, tenant, subject),
      tenant
    })
    /** Passes time until a condition holds. */
    const eventually = async <A>(read: () => Promise<A>, expected: unknown, step = 100): Promise<void> => {
      let isFirst = true
      const later = async () => {
        if (!isFirst) await app.pass(step)
        isFirst = false
        return read()
      }
      await expect.poll(later).toEqual(expected)
    }

    it("J1: a job is there if and only if its mutation committed", async () => {
      const { call, tenant, texts, value } = open()
      expect((await call("rolledBack", { text: "failed", how: "fail" }))._tag).toBe("Failure")
      expect((await call("rolledBack", { text: "died", how: "die" }))._tag).toBe("Failure")
      await value("partly")
      await eventually(texts, ["kept"])
      await app.evict(tenant)
      expect(await texts()).toEqual(["kept"])
    })

    it("J4 J5: a job runs at its time, not before, and once", async () => {
      const { plan, job, jobs, lines, tenant, texts, value } = open()
      const start = await app.now()
      const [id] = await plan(500, { what: "add", text: "one" })
      const [two] = await plan(hour, { what: "add", text: "two" })
      expect(await job(two)).toMatchObject({ state: "waiting", attempts: 0, target: "add", payload: { text: "two" } })
      await app.evict(tenant)
      await eventually(texts, ["one"])
      expect((await lines())[0].at).toBeGreaterThanOrEqual(start + 500)
      await app.pass(1000)
      expect(await texts()).toEqual(["one"])
      expect(await value("cancel", { id: two })).toBe(true)
      expect(await jobs()).toEqual([])
      expect(await job(id)).toBe(null)
    })

    it("J4 J10: a time in the past is now; one after the year 9999, or none, is refused", async () => {
      const { call, jobs, reason, texts, value } = open()
      await value("at", { time: -1000, text: "past" })
      await eventually(texts, ["past"])
      for (const time of [253_402_300_800_000, "no time", 1e300]) {
        expect([time, await reason("at", { time, text: "x" })]).toMatchObject([time, { _tag: "PayloadInvalid" }])
      }
      const [id] = await value("after", { delay: 60_000, jobs: [{ what: "add", text: "later" }] })
      expect((await call("reschedule", { id, time: 1e15 }))._tag).toBe("Failure")
      expect(await jobs()).toMatchObject([{ id, state: "waiting" }])
    })

    it("J9: a job that was given another time runs then", async () => {
      const { plan, job, texts, value } = open()
      const [id] = await plan(3_600_000, { what: "add", text: "one" })
      expect(await value("reschedule", { id, time: (await app.now()) + 300 })).toBe(true)
      await eventually(texts, ["one"])
      expect(await job(id)).toBe(null)
      expect(await value("reschedule", { id, time: 0 })).toBe(false)
    })

    it("J9: a job that was cancelled does not run", async () => {
      const { plan, jobs, texts, value } = open()
      const [one, two] = await plan(hour, { what: "add", text: "one" }, { what: "add", text: "two" })
      expect(await value("cancel", { id: one })).toBe(true)
      expect(await value("cancel", { id: one })).toBe(false)
      expect(await value("cancel", { id: "no id" })).toBe(false)
      expect(await value("reschedule", { id: one, time: 0 })).toBe(false)
      expect(await value("reschedule", { id: two, time: 0 })).toBe(true)
      await eventually(texts, ["two"])
      expect(await jobs()).toEqual([])
      // From an action.
      const id = await value("plan", { delay: hour, text: "three" })
      expect(await value("unplan", { id })).toBe(true)
      expect(await jobs()).toEqual([])
      await value("plan", { delay: 0, text: "four" })
      await eventually(texts, ["two", "four"])
    })

    it("J2: a mutation that fails leaves nothing, and is kept as failed with its reason", async () => {
      const { plan, job, jobs, texts, value } = open()
      const [failed, died] = await plan(0, { what: "fail", text: "f" }, { what: "die", text: "d" })
      await eventually(() => jobs("failed").then((jobs) => jobs.map(({ id }) => id)), [failed, died])
      expect(await texts()).toEqual([])
      expect(await job(failed)).toMatchObject({ state: "failed", attempts: 1, reason: { kind: "failed" } })
      expect(JSON.parse((await job(failed)).reason.detail)).toEqual({ _tag: "Broken", text: "f" })
      // The cause is in the log alone.
      expect((await job(died)).reason.detail).not.toContain("jobs.ts")
      expect(await jobs()).toEqual([])
      expect(await value("cancel", { id: failed })).toBe(true)
      expect((await jobs("failed")).map(({ id }) => id)).toEqual([died])
    })

    it("J2: with `retry` a mutation runs until it succeeds, and its effects are there once", async () => {
      const { plan, jobs, texts } = open()
      await plan(0, { what: "once", text: `once ${newTenant("x")}`, retry: 100 })
      await eventually(async () => (await texts()).length, 1)
      expect(await jobs()).toEqual([])
      expect(await jobs("failed")).toEqual([])
    })

    it("J6: retries end, and a job that failed runs again when it is rescheduled", async () => {
      const { plan, job, jobs, value } = open()
      const [id] = await plan(0, { what: "fail", text: "f", retry: 50, maxAttempts: 3 })
      await eventually(async () => (await job(id)).state, "failed")
      expect(await job(id)).toMatchObject({ attempts: 3, reason: { kind: "failed" } })
      expect(await value("reschedule", { id, time: (await app.now()) + 60_000 })).toBe(true)
      expect(await job(id)).toMatchObject({ state: "waiting", attempts: 0 })
      expect(await value("reschedule", { id, time: 0 })).toBe(true)
      await eventually(async () => (await jobs("failed")).map(({ attempts }) => attempts), [3])
    })

    it("J3: an action runs at most once, and at least once with `retry`", async () => {
      const { plan, job, texts } = open()
      const text = newTenant("act")
      const [, once, often] = await plan(
        0,
        { what: "act", text },
        { what: "actFail", text: `${text} once` },
        { what: "actFail", text: `${text} often`, retry: 50, maxAttempts: 3 }
      )
      await eventually(async () => [(await job(once)).state, (await job(often)).state], ["failed", "failed"])
      await eventually(texts, [text])
      expect(ran.filter((ran) => ran.startsWith(text)).sort()).toEqual([
        text,
        `${text} often`,
        `${text} often`,
        `${text} often`,
        `${text} once`
      ])
      expect(await job(often)).toMatchObject({ attempts: 3, lane: "actions", reason: { kind: "failed" } })
    })

    it("J8: jobs of one key run one after the other in their order, also over retries and cancelled ones", async () => {
      const { plan, job, texts, together, value } = open()
      const flaky = `once ${newTenant("x")}`
      const ids = await plan(
        hour,
        { what: "add", text: "0", key: "a" },
        { what: "once", text: flaky, key: "a", retry: 300 },
        { what: "add", text: "2", key: "a" },
        { what: "fail", text: "3", key: "a" },
        { what: "add", text: "4", key: "a" },
        { what: "add", text: "other", key: "b" }
      )
      expect(await value("cancel", { id: ids[0] })).toBe(true)
      await together(...ids.slice(1).map((id) => ["reschedule", { id, time: 0 }] as const))
      await eventually(async () => (await texts()).length, 4)
      expect(await texts()).toEqual(["other", flaky, "2", "4"])
      expect(await job(ids[3])).toMatchObject({ state: "failed" })
    })

    it("J7: a job runs as its caller, or as the system", async () => {
      const { plan, lines } = open("ada")
      await plan(0, { what: "add", text: "a" }, { what: "add", text: "b", as: "system" })
      await eventually(
        async () => (await lines()).map(({ isSystem, subject, text }) => [text, subject, isSystem]),
        [
          ["a", "ada", false],
          ["b", null, true]
        ]
      )
      await plan(0, { what: "act", text: "c" })
      await plan(0, { what: "act", text: "d", as: "system" })
      await eventually(async () => (await lines()).length, 4)
      const later = (await lines()).slice(2).map(({ isSystem, subject, text }) => [text, subject, isSystem])
      expect(later.sort()).toEqual([
        ["c", "ada", false],
        ["d", null, true]
      ])
    })

    it("J7: policies hold for the caller of a job", async () => {
      const { jobs, value } = open("ada")
      const later = (by: string, subject: string, as?: string) =>
        value("note.later", { by, subject, ...(as !== undefined && { as }) })
      for (const by of ["note", "noteAct"]) {
        await later(by, "ada")
        await later(by, "bob")
        await later(by, "eve", "system")
      }
      await eventually(async () => (await value("notes")).toSorted(), ["ada", "ada", "eve", "eve"])
      await eventually(
        async () => (await jobs("failed")).map(({ payload }) => payload),
        [{ subject: "bob" }, { subject: "bob" }]
      )
      expect((await jobs("failed"))[0].reason.detail).toContain("Forbidden")
    })

    it("J7: a caller whose token claims to be the system is not, for policies", async () => {
      const tenant = newTenant("jobs")
      const { reason, value } = clientOf(app, tenant, "ada", { system: true })
      expect((await reason("note", { subject: "eve" }))._tag).toBe("Forbidden")
      await value("note.later", { by: "note", subject: "eve", as: "system" })
      await eventually(() => value("notes"), ["eve"])
    })

    it("J9: jobs are listed with their filters, and the list is live", async () => {
      const { plan, tenant, value } = open()
      const peer = await app.connect(tenant, "header", Auth.testToken({ subject: "ada" }))
      peer.send(request("live", "live:listed", {}))
      await peer.itemsOf("live", 1)
      peer.send({ _tag: "Ack", requestId: "live" })
      const [one, two] = await plan(60_000, { what: "add", text: "1" }, { what: "act", text: "2" })
      await plan(0, { what: "fail", text: "3" })
      await eventually(() => value("listed", { state: "failed" }), ["3"])
      expect(await value("listed", {})).toEqual(["1", "2"])
      expect(await value("listed", { state: "waiting", lane: "actions" })).toEqual(["2"])
      expect(await value("listed", { after: one })).toEqual(["2"])
      expect(await value("listed", { take: 1 })).toEqual(["1"])
      expect(await value("listed", { state: "running" })).toEqual([])
      await peer.until(() => JSON.stringify(peer.items("live")).includes('"2"'))
      const seen = peer.items("live").length
      peer.send({ _tag: "Ack", requestId: "live" })
      await value("cancel", { id: two })
      await peer.itemsOf("live", seen + 1)
      peer.close()
    })

    it("J10: what is too large for a row is refused", async () => {
      const { jobs, reason, value } = open()
      for (const to of ["job", "queue"]) {
        expect(await reason("large", { to, length: 2_100_000 })).toMatchObject({
          _tag: "LimitExceeded",
          limit: "rowBytes"
        })
        expect(await jobs()).toEqual([])
        await value("large", { to, length: 1_000 })
        await eventually(jobs, [])
      }
    })

    it("J6: what the app does not know any more, or cannot read, is kept as failed and is not tried again", async () => {
      const { tenant, value } = open()
      await value("old.schedule")
      const next = clientOf(await app.deploy(tenant), tenant)
      for (const { id, target } of await next.jobs()) {
        if (target !== "~queue.olds") await next.value("reschedule", { id, time: 0 })
      }
      await eventually(next.texts, ["still there"])
      const failed = async () =>
        (await next.jobs("failed")).map(({ attempts, reason, target }: any) => [target, reason.kind, attempts])
      await eventually(
        async () => (await failed()).toSorted(),
        [
          ["old.changed", "payload", 1],
          ["old.gone", "unknown", 1],
          ["old.goneAct", "unknown", 1],
          ["~queue.changing", "payload", 1],
          ["~queue.olds", "unknown", 1],
          ["~queue.olds", "unknown", 1]
        ]
      )
      expect(await next.jobs()).toEqual([])
    })

    it("J11: the declared crons are those of the app, whatever version ran before", async () => {
      const { tenant, value } = open()
      const listed = (crons: ReadonlyArray<any>) =>
        crons.map(({ definition, isDeclared, name }) => [name, definition.payload.text, isDeclared])
      // A tenant that nobody has written to has none.
      expect(await value("crons")).toEqual([])
      await value("add", { text: "x" })
      await eventually(
        async () => listed(await value("crons")),
        [
          ["changed", "before", true],
          ["kept", "kept", true],
          ["removed", "removed", true]
        ]
      )
      await value("cron.every", { name: "own", millis: 3_600_000, text: "own" })
      const before = await value("crons")
      const next = clientOf(await app.deploy(tenant), tenant)
      expect(listed(await next.value("crons"))).toEqual([
        ["added", "added", true],
        ["changed", "after", true],
        ["kept", "kept", true],
        ["own", "own", false]
      ])
      const nextOf = (crons: ReadonlyArray<any>, name: string) => crons.find((cron) => cron.name === name).next
      for (const name of ["kept", "own"]) expect(nextOf(await next.value("crons"), name)).toBe(nextOf(before, name))
      expect(nextOf(await next.value("crons"), "changed")).not.toBe(nextOf(before, "changed"))
    })

    it("J12: a handler sets, replaces and removes jobs that repeat", async () => {
      const { lines, value } = open("ada")
      await value("cron.every", { name: "own", millis: 200, text: "one" })
      await eventually(async () => (await lines()).length >= 2, true, 200)
      await value("cron.every", { name: "own", millis: 200, text: "two", as: "system" })
      await eventually(async () => (await lines()).at(-1)?.text, "two", 200)
      expect(await value("cron.remove", { name: "own" })).toBe(true)
      expect(await value("cron.remove", { name: "own" })).toBe(false)
      expect(await value("cron.remove", { name: "kept" })).toBe(false)
      const of = (text: string) => (line: any) => line.text === text
      expect((await lines()).find(of("one"))).toMatchObject({ subject: "ada", isSystem: false })
      expect((await lines()).find(of("two"))).toMatchObject({ subject: null, isSystem: true })
      const before = (await lines()).length
      await app.pass(1000)
      expect((await lines()).length - before).toBeLessThanOrEqual(1)
    })

    it("J14: a cron that never comes true, or cannot be read, is refused", async () => {
      const { reason, value } = open()
      for (const expression of ["0 0 30 2 *", "nonsense", "61 * * * *", ""]) {
        const refused = await reason("cron.set", { name: "own", expression, text: "x" })
        expect([expression, refused]).toMatchObject([expression, { _tag: "PayloadInvalid" }])
      }
      const zone = await reason("cron.set", { name: "own", expression: "0 0 * * *", zone: "Mars/Olympus", text: "x" })
      expect(zone).toMatchObject({ _tag: "PayloadInvalid" })
      for (const millis of [0, -1, 0.5]) {
        expect(await reason("cron.every", { name: "own", millis, text: "x" })).toMatchObject({ _tag: "PayloadInvalid" })
      }
      for (const missed of [-1, 0.5, 2, 1e9]) {
        const refused = await reason("cron.set", { name: "own", expression: "0 0 * * *", text: "x", missed })
        expect([missed, refused]).toMatchObject([missed, { _tag: "PayloadInvalid" }])
      }
      expect((await value("crons")).filter(({ name }: any) => name === "own")).toEqual([])
    })

    it("Q1 Q5: a message is handled if and only if its mutation committed, in the name of its sender", async () => {
      const { lines, value } = open("ada")
      await value("task", { texts: ["one"] })
      await eventually(async () => (await lines()).map(({ subject, text }) => [text, subject]), [["one", "ada"]])
      const [id] = await value("sendFromAction", { text: "two" }).then((id) => [id])
      expect(id).toMatch(/^\d+$/)
      await value("tasks.act", { texts: ["3", "4", "5"] })
      await eventually(async () => (await lines()).length, 5)
      expect((await lines()).map(({ text }) => text).filter((text) => text.length === 1)).toEqual(["3", "4", "5"])
    })

    it("Q4: a message that fails is tried again; a poison message is kept as failed and the others go on", async () => {
      const { jobs, texts, value } = open()
      const name = newTenant("m")
      await value("task", { texts: [`poison ${name}`, `die ${name}`, `reject ${name}`, `flaky ${name}`, "fine"] })
      await eventually(async () => (await texts()).toSorted(), ["fine", `flaky ${name}`])
      await eventually(async () => (await jobs()).length, 0)
      const failed = (await jobs("failed")).map(({ attempts, payload, reason }) => [
        payload.text.split(" ")[0],
        reason.kind,
        reason.detail,
        attempts
      ])
      expect(failed).toEqual([
        ["poison", "failed", "Error: poison", 3],
        ["die", "failed", "the handler died; the cause is in the log", 3],
        ["reject", "rejected", "no", 1]
      ])
      expect(ran.filter((text) => text === `flaky ${name}`)).toHaveLength(3)
    })

    it("Q8: a handler that never returns is interrupted after `timeout`", async () => {
      const { job, value } = open()
      const next = newTenant("next")
      const [id] = await value("task", { texts: ["hang", next], to: "olds" })
      await eventually(async () => (await job(id)).state, "failed", 500)
      expect(await job(id)).toMatchObject({ attempts: 3, reason: { kind: "timeout" } })
      await eventually(async () => ran.includes(next), true)
    })

    it("Q8: a handler chooses when it is called again", async () => {
      const { lines, value } = open()
      const start = await app.now()
      const text = `later ${newTenant("x")}`
      await value("task", { texts: [text] })
      await eventually(async () => (await lines()).map(({ text }) => text), [text])
      expect((await lines())[0].at).toBeGreaterThanOrEqual(start + 900)
      expect(ran.filter((line) => line === text)).toHaveLength(2)
    })

    it("Q3: messages of one key are handled one after the other, in their order", async () => {
      const { texts, together } = open()
      const slow = `slow ${newTenant("x")}`
      const [second, other] = [newTenant("second"), newTenant("other")]
      await together(
        ["send", { to: "works", texts: [slow, second], key: "a" }],
        ["send", { to: "works", texts: [other], key: "b" }]
      )
      await eventually(async () => (await texts()).filter((text) => text !== other), [slow, second])
      await eventually(async () => (await texts()).includes(other), true)
      // The control: two are handled at a time.
      expect(ran.indexOf(other)).toBeLessThan(ran.indexOf(second))
    })

    it("Q6: of the messages that wait, those of a higher priority come first", async () => {
      const { texts, value } = open()
      const [first, second, third] = [`low ${newTenant("x")}`, "normal", "high"]
      await value("priorities", { low: first, normal: second, high: third })
      await eventually(texts, [third, second, first])
    })

    it("Q2: a message with an id is sent once, whatever its priority", async () => {
      const { job, texts, value } = open()
      const [one] = await value("task", { texts: ["one"], id: "x" })
      expect(await value("task", { texts: ["two"], id: "x" })).toEqual([one])
      expect(await value("task", { texts: ["three"], id: "x", priority: "high" })).toEqual([one])
      await eventually(texts, ["one"])
      await eventually(() => job(one), null)
      expect(await value("task", { texts: ["four"], id: "x" })).toEqual([one])
      await value("task", { texts: ["five"], id: "y" })
      await eventually(texts, ["one", "five"])
    })

    it("Q7: messages are handed over as soon as a batch is full, or has waited, each to the name of its sender", async () => {
      const ada = open("ada")
      const bob = open("bob", ada.tenant)
      const start = await app.now()
      await ada.value("group", { texts: ["1", "2", "3", "4"] })
      const said = async () => (await ada.lines()).map(({ subject, text }) => `${subject} ${text}`)
      await eventually(async () => (await said())[0], "ada 1+2+3", 0)
      await eventually(said, ["ada 1+2+3", "ada 4"])
      expect((await ada.lines())[1].at).toBeGreaterThanOrEqual(start + 1000)
      await Promise.all([
        ada.together(["group", { texts: ["5"] }], ["group", { texts: ["flaky"] }]),
        bob.value("group", { texts: ["6"] })
      ])
      await eventually(async () => (await said()).slice(2).toSorted(), ["ada 5+flaky", "ada flaky", "bob 6"])
    })

    it("Q9: the progress of a message is live, and its end is reported", async () => {
      const { tenant, texts, value } = open()
      const peer = await app.connect(tenant, "header", Auth.testToken({ subject: "ada" }))
      peer.send(request("live", "live:jobs", {}))
      await peer.itemsOf("live", 1)
      const text = newTenant("held")
      held.add(text)
      await value("task", { texts: [text, "reject"], reports: true })
      let acknowledged = 0
      await eventually(async () => {
        const chunks = peer.messages.filter((message) => message._tag === "Chunk").length
        for (; acknowledged < chunks; acknowledged++) peer.send({ _tag: "Ack", requestId: "live" })
        return JSON.stringify(peer.items("live")).includes('"attempt":1')
      }, true)
      held.delete(text)
      await eventually(async () => (await texts()).toSorted(), ["reject failed", text, `${text} done`].toSorted())
      peer.close()
    })

    it("O16: a key that expires is deleted then, and a live query that read it is sent that", async () => {
      const { tenant, value } = open()
      const peer = await app.connect(tenant, "header", Auth.testToken({ subject: "ada" }))
      // More than one transaction deletes, and the last of them is the one that is read.
      const keys = Array.from({ length: 250 }, (_, i) => `key ${i}`)
      await value("keep", { keys: ["later"], millis: 600_000 })
      peer.send(request("other", "live:kept", { key: "later" }))
      await peer.itemsOf("other", 1)
      // On a busy machine the keys may be gone before they are read: then they are kept for longer.
      let millis = 500
      let live: string
      do {
        millis *= 2
        live = `live-${millis}`
        await value("keep", { keys, millis })
        peer.send(request(live, "live:kept", { key: "key 249" }))
        await peer.itemsOf(live, 1)
      } while (millis < 60_000 && peer.items(live)[0].value === null)
      expect(peer.items(live)).toMatchObject([{ value: "kept" }])
      peer.send({ _tag: "Ack", requestId: live })
      await app.pass(millis)
      await peer.itemsOf(live, 2)
      expect(JSON.stringify(peer.items(live)[1])).toContain("null")
      expect(peer.items("other")).toHaveLength(1)
      peer.close()
    })

    it("N1: an internal rpc does not exist for clients, and jobs and actions call it", async () => {
      const { call, tenant, value } = open("system")
      const peer = await app.connect(tenant, "header", Auth.testToken({ subject: "system" }))
      const payload = { text: "system" }
      for (const tag of ["hidden", "hiddenAct", "hiddenCount", "live:hiddenCount"]) {
        const unknown = { _tag: "UnknownRpc", tag }
        expect(errorOf(await call(tag, payload)).reason, tag).toEqual(unknown)
        expect(errorOf(await peer.call(tag, payload)).reason, tag).toEqual(unknown)
      }
      expect(await value("notes")).toEqual([])
      peer.close()
      expect(await value("revealAct", payload)).toBe(1)
      await value("reveal", payload)
      await eventually(async () => (await value("jobs", { state: "failed" })).length + (await value("jobs")).length, 0)
    })

    it("O6: no client can call what the engine itself calls", async () => {
      const { call, jobs, tenant } = open()
      const entry = { lane: "mutations", target: "add", payload: { text: "x" }, caller: { subject: "eve", claims: {} } }
      const calls: ReadonlyArray<readonly [string, unknown]> = [
        ["~outbox.add", { entry }],
        ["~outbox.remove", { id: "1" }],
        ["~outbox.reschedule", { id: "1" }],
        ["~outbox.progress", { id: "1", progress: 1 }],
        ["~outbox.setCron", { name: "x", definition: {} }],
        ["~outbox.removeCron", { name: "x" }],
        ["~outbox.isWaiting", { queue: "tasks", call: "1.a" }],
        ["~outbox.begin", { queue: "tasks", call: "1.a", lease: 1e9, maxBytes: 1e9 }],
        ["~outbox.settle", { queue: "tasks", call: "1.a", results: [{ id: "1", handled: null }], millis: 1 }],
        ["live:~outbox.isWaiting", { queue: "tasks", call: "1.a" }],
        ["~queue.tasks", { messages: [] }],
        ["live:~outbox.add", { entry }]
      ]
      const peer = await app.connect(tenant, "header", Auth.testToken({ subject: "ada" }))
      for (const [tag, payload] of calls) {
        expect([tag, errorOf(await call(tag, payload))?.reason?._tag]).toEqual([tag, "UnknownRpc"])
        expect([tag, errorOf(await peer.call(tag, payload))?.reason?._tag]).toEqual([tag, "UnknownRpc"])
      }
      expect(await jobs()).toEqual([])
      // The control: what a client may call.
      expect((await peer.call("task", { texts: ["fine"] }))._tag).toBe("Success")
      peer.close()
    })
  })
