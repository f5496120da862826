import * as Deferred from "effect/Deferred"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { bodies, call, type Deployment, defectOf, errorOf, newTenant, post, request } from "../deployment/Deployment.ts"
import { type Ending, lateWrites, secret, waiting } from "../worker/notes.ts"

const endings: ReadonlyArray<Ending> = [
  "typed failure",
  "undeclared failure",
  "defect",
  "thrown error",
  "interruption",
  "sleep",
  "promise",
  "deferred",
  "result that does not fit",
  "commit that fails"
]
const suspensions: ReadonlyArray<Ending> = ["sleep", "promise", "deferred"]

/** How handlers affect their transaction. `limited` is the same app with small limits. */
export const suite = (
  name: string,
  deployments: () => Promise<{
    readonly deployment: Deployment
    readonly limited: Deployment
    readonly close?: () => Promise<void>
  }>
) =>
  describe(name, () => {
    let deployment: Deployment
    let limited: Deployment
    let close: (() => Promise<void>) | undefined
    beforeAll(async () => ({ deployment, limited, close } = await deployments()))
    afterAll(() => close?.())

    describe("K1: a query only reads", () => {
      for (const statement of [
        "INSERT INTO notes (id, body, at) VALUES ('x', 'raw', 0)",
        "INSERT INTO notes (id, body, at) VALUES ('x', 'raw', 0) RETURNING id",
        "WITH x AS (SELECT 'x' AS id) INSERT INTO notes SELECT id, 'raw', 0 FROM x",
        "UPDATE notes SET body = 'raw'",
        "DELETE FROM notes",
        "SELECT 1; DELETE FROM notes",
        "CREATE TABLE raw (id)",
        "DROP TABLE notes"
      ]) {
        it(`K1: raw SQL that writes is refused in a query: ${statement}`, async () => {
          const tenant = newTenant("k1")
          await call(deployment, tenant, "notes.add", { body: "kept" })
          const refused = await call(deployment, tenant, "sql", { statement, parameters: 0 })
          expect(defectOf(refused)).toMatchObject({ _tag: "InternalError" })
          expect(await bodies(deployment, tenant)).toEqual(["kept"])
        })
      }

      it("K1: the same SQL works in a mutation", async () => {
        const tenant = newTenant("k1")
        const statement = "INSERT INTO notes (id, body, at) VALUES ('x', 'raw', 0)"
        expect(await call(deployment, tenant, "write", { statement })).toMatchObject({ _tag: "Success" })
        expect(await bodies(deployment, tenant)).toEqual(["raw"])
      })

      it("K1: an action reads and writes by calling queries and mutations", async () => {
        const tenant = newTenant("k1")
        expect(await call(deployment, tenant, "act.add", { body: "by an action" })).toMatchObject({ _tag: "Success" })
        expect(await bodies(deployment, tenant)).toEqual(["by an action"])
      })
    })

    describe("K3: a query or a mutation runs synchronously to its end", () => {
      for (const ending of suspensions) {
        for (const tag of ["end", "notes.addAndEnd"]) {
          it(`K3: ${tag} that waits (${ending}) fails with advice to make it an action, and affects no other call`, async () => {
            const tenant = newTenant("k3")
            const defect = defectOf(await call(deployment, tenant, tag, { ending }))
            expect(defect).toMatchObject({ _tag: "InternalError" })
            expect(defect.message).toContain(tag)
            expect(defect.message).toContain("make it an action")
            expect(await call(deployment, tenant, "notes.add", { body: "next" })).toMatchObject({ _tag: "Success" })
            expect(await bodies(deployment, tenant)).toEqual(["next"])
          })
        }
        if (ending === "deferred") continue
        it(`K3: an action may wait (${ending})`, async () => {
          expect(await call(deployment, newTenant("k3"), "act.end", { ending })).toEqual({ _tag: "Success", value: 1 })
        })
      }

      it("K3: a handler that waited for a later call does not continue when that call runs", async () => {
        const tenant = newTenant("k3")
        // Actions of other suites may wait for the one before.
        Object.assign(waiting, { current: Deferred.makeUnsafe(), resumed: 0 })
        await call(deployment, tenant, "notes.addAndEnd", { ending: "deferred" })
        const resumed = await call(deployment, tenant, "notes.resume", {})
        expect(resumed, deployment.logged()).toEqual({ _tag: "Success", value: true })
        // Calls that are answered later prove that it had the chance.
        const peer = await deployment.connect(tenant)
        await peer.settled()
        expect(waiting.resumed).toBe(0)
        expect(await bodies(deployment, tenant)).toEqual([])
      })

      it("K3: a fiber that outlives its transaction can no longer write", async () => {
        const tenant = newTenant("k3")
        lateWrites.length = 0
        expect(await call(deployment, tenant, "notes.addLater", {})).toEqual({ _tag: "Success", value: 1 })
        await expect
          .poll(() => lateWrites.map(String))
          .toEqual([expect.stringContaining("after its transaction had ended")])
        expect(await bodies(deployment, tenant)).toEqual(["at once"])
      })

      it("K3: the calls of a batch run one by one, and one that waits does not stop the others", async () => {
        const tenant = newTenant("k3")
        const response = await post(
          deployment,
          tenant,
          JSON.stringify([
            request("a", "notes.add", { body: "one" }),
            request("b", "notes.addAndEnd", { ending: "promise" }),
            request("c", "notes.add", { body: "two" })
          ])
        )
        const exits = (await response.json()) as ReadonlyArray<any>
        expect(exits.map(({ requestId, exit }) => [requestId, exit._tag])).toEqual([
          ["a", "Success"],
          ["b", "Failure"],
          ["c", "Success"]
        ])
        expect(await bodies(deployment, tenant)).toEqual(["one", "two"])
      })
    })

    describe("K4: time stands still and random numbers repeat", () => {
      it("K4: a query reads one time, and the same random numbers in every run", async () => {
        const tenant = newTenant("k4")
        const first = (await call(deployment, tenant, "look", {})).value
        expect(first.times[0]).toBe(first.times[1])
        expect(first.randoms[0]).not.toBe(first.randoms[1])
        const now = Date.now()
        await expect.poll(() => Date.now()).toBeGreaterThan(now)
        const second = (await call(deployment, tenant, "look", {})).value
        expect(second.randoms).toEqual(first.randoms)
      })

      it("K4: a mutation reads the time of its rows, and new random numbers", async () => {
        const tenant = newTenant("k4")
        const first = (await call(deployment, tenant, "lookAndAdd", {})).value
        expect(first.times).toEqual([first.note.at, first.note.at])
        const second = (await call(deployment, tenant, "lookAndAdd", {})).value
        expect(second.randoms).not.toEqual(first.randoms)
        expect(second.note.id).not.toBe(first.note.id)
      })
    })

    describe("T1: a mutation commits everything or nothing", () => {
      for (const ending of endings) {
        it(`T1, T2: ${ending} leaves no row and sends no frame`, async () => {
          const tenant = newTenant("t1")
          const peer = await deployment.connect(tenant)
          const live = peer.ask("live:notes.list", {})
          await peer.itemsOf(live, 1)
          peer.send({ _tag: "Ack", requestId: live })
          expect(await peer.call("notes.addAndEnd", { ending })).toMatchObject({ _tag: "Failure" })
          expect(await call(deployment, tenant, "notes.addAndEnd", { ending })).toMatchObject({ _tag: "Failure" })
          await peer.settled()
          expect(peer.items(live)).toHaveLength(1)
          expect(await bodies(deployment, tenant)).toEqual([])
          // The next commit sends a frame, which contains nothing of the failed mutation.
          await call(deployment, tenant, "notes.add", { body: "kept" })
          const [, frame] = await peer.itemsOf(live, 2)
          expect(JSON.stringify(frame)).toContain("kept")
          expect(JSON.stringify(frame)).not.toContain("gone")
          expect(await bodies(deployment, tenant)).toEqual(["kept"])
          peer.close()
        })
      }

      it("T1: a nested transaction is rolled back alone", async () => {
        const tenant = newTenant("t1")
        expect(await call(deployment, tenant, "notes.addHalf", {})).toEqual({ _tag: "Success", value: 2 })
        expect(await bodies(deployment, tenant)).toEqual(["before", "after"])
      })
    })

    describe("T5: an exceeded limit is reported by name, and nothing is truncated", () => {
      const limitOf = async (tag: string, payload: unknown, tenant = newTenant("t5")) => {
        const { reason } = errorOf(await call(limited, tenant, tag, payload)) ?? {}
        expect(reason?._tag).toBe("LimitExceeded")
        return [reason.limit, reason.max, reason.actual]
      }

      it("T5: rowsRead, by rows and by SQL", async () => {
        const tenant = newTenant("t5")
        for (let i = 0; i < 2; i++) await call(limited, tenant, "notes.addMany", { count: 10, body: "b" })
        expect((await call(limited, tenant, "notes.list", {})).value).toHaveLength(20)
        await call(limited, tenant, "notes.add", { body: "one more" })
        expect(await limitOf("notes.list", {}, tenant)).toEqual(["rowsRead", 20, 21])
        expect(await limitOf("sql", { statement: "SELECT id FROM notes", parameters: 0 }, tenant)).toEqual([
          "rowsRead",
          20,
          21
        ])
      })

      it("T5: rowsWritten, and no row is kept", async () => {
        const tenant = newTenant("t5")
        expect(await limitOf("notes.addMany", { count: 11, body: "b" }, tenant)).toEqual(["rowsWritten", 10, 11])
        expect(await bodies(limited, tenant)).toEqual([])
        expect(await call(limited, tenant, "notes.addMany", { count: 10, body: "b" })).toMatchObject({ value: 10 })
      })

      it("T5: resultBytes", async () => {
        const [name, max, actual] = await limitOf("text", { length: 2001, unit: "x" })
        expect([name, max]).toEqual(["resultBytes", 2000])
        expect(actual).toBeGreaterThan(2000)
        expect((await call(limited, newTenant("t5"), "text", { length: 1900, unit: "x" })).value).toHaveLength(1900)
      })

      it("T5: resultBytes counts bytes, not characters", async () => {
        expect((await limitOf("text", { length: 1000, unit: "語" }))[0]).toBe("resultBytes")
      })

      it("T5: resultBytes of a live query over HTTP counts the same bytes", async () => {
        for (const [length, unit] of [
          [2001, "x"],
          [1000, "語"]
        ] as const) {
          const [name, , actual] = await limitOf("live:text", { length, unit })
          expect([name, actual]).toEqual(["resultBytes", (await limitOf("text", { length, unit }))[2]])
        }
        expect(await call(limited, newTenant("t5"), "live:text", { length: 600, unit: "語" })).toMatchObject({
          _tag: "Success"
        })
      })

      it("T5: resultBytes of a mutation is checked before its commit", async () => {
        const tenant = newTenant("t5")
        expect((await limitOf("notes.add", { body: "x".repeat(2500) }, tenant))[0]).toBe("resultBytes")
        expect(await bodies(limited, tenant)).toEqual([])
      })

      it("T5: resultBytes on a socket, for an answer and for a live query", async () => {
        const peer = await limited.connect(newTenant("t5"))
        expect(errorOf(await peer.call("text", { length: 2001, unit: "x" })).reason.limit).toBe("resultBytes")
        expect(errorOf(await peer.call("live:text", { length: 2001, unit: "x" })).reason.limit).toBe("resultBytes")
        expect(await peer.call("text", { length: 10, unit: "x" })).toMatchObject({ _tag: "Success" })
      })

      it("T5: requestBytes and requestsPerBatch, over HTTP and on a socket", async () => {
        const tenant = newTenant("t5")
        const large = JSON.stringify(request("1", "notes.add", { body: "x".repeat(3000) }))
        const many = JSON.stringify(Array.from({ length: 6 }, (_, i) => request(i, "notes.add", { body: "b" })))
        const tooLarge = await post(limited, tenant, large)
        expect([tooLarge.status, await tooLarge.json()]).toEqual([
          413,
          { error: expect.stringContaining("requestBytes is 3000") }
        ])
        const tooMany = await post(limited, tenant, many)
        expect(tooMany.status).toBe(413)
        const peer = await limited.connect(tenant)
        peer.sendText(many)
        const overHttp: any = await tooMany.json()
        const onSocket = await Promise.all(Array.from({ length: 6 }, (_, i) => peer.exit(i)))
        for (const exit of [...overHttp.map(({ exit }: any) => exit), ...onSocket]) {
          expect(errorOf(exit)).toMatchObject({ reason: { limit: "requestsPerBatch", max: 5, actual: 6 } })
        }
        peer.sendText(large)
        const reason = expect.stringContaining("requestBytes")
        expect(await peer.until(() => peer.closed)).toEqual({ code: 1009, reason })
        expect(await bodies(limited, tenant)).toEqual([])
      })

      it("T5: boundParameters, statementBytes and rowBytes", async () => {
        const marks = (count: number) => `SELECT ${Array.from({ length: count }, () => "?").join(" + ")} AS sum`
        expect(
          await call(deployment, newTenant("t5"), "sql", { statement: marks(100), parameters: 100 })
        ).toMatchObject({
          _tag: "Success"
        })
        const limitHere = async (tag: string, payload: unknown) =>
          errorOf(await call(deployment, newTenant("t5"), tag, payload)).reason
        expect(await limitHere("sql", { statement: marks(101), parameters: 101 })).toEqual({
          _tag: "LimitExceeded",
          limit: "boundParameters",
          max: 100,
          actual: 101
        })
        expect(await limitHere("sql", { statement: `SELECT 1 ${" ".repeat(100_000)}`, parameters: 0 })).toMatchObject({
          limit: "statementBytes",
          max: 100_000
        })
        expect(await limitHere("notes.add", { body: "x".repeat(2_000_001) })).toMatchObject({
          limit: "rowBytes",
          max: 2_000_000
        })
      })
    })

    describe("S2: callers do not see internal errors", () => {
      for (const ending of ["undeclared failure", "defect", "thrown error", "result that does not fit"] as const) {
        for (const tag of ["end", "notes.addAndEnd", "act.end"]) {
          it(`S2: ${tag} with ${ending} returns an id, under which the log has the cause`, async () => {
            const tenant = newTenant("s2")
            deployment.logged()
            const response = await post(deployment, tenant, JSON.stringify(request("1", tag, { ending })))
            const text = await response.text()
            expect(text).not.toContain("password")
            expect(text).not.toContain("notes.ts")
            expect(text).not.toMatch(/ at .*:\d+/)
            const defect = defectOf(JSON.parse(text)[0].exit)
            expect(defect).toEqual({
              _tag: "InternalError",
              id: expect.any(String),
              message: `the server could not answer; the cause is in its log under ${defect.id}`
            })
            const log = deployment.logged()
            expect(log).toContain(defect.id)
            // The log does not contain a result that does not fit, either.
            if (ending !== "result that does not fit") expect(log).toContain(secret)
            expect(log).toContain(tag)
          })
        }
      }

      it("S2: SQLite's messages do not reach callers, over HTTP, a socket or a live query", async () => {
        const tenant = newTenant("s2")
        const peer = await deployment.connect(tenant)
        const payload = { statement: "SELECT passwords FROM nowhere", parameters: 0 }
        for (const exit of [
          await call(deployment, tenant, "sql", payload),
          await peer.call("sql", payload),
          await peer.call("live:sql", payload)
        ]) {
          expect(defectOf(exit)).toMatchObject({ _tag: "InternalError" })
          expect(JSON.stringify(exit)).not.toMatch(/passwords|nowhere|no such/)
        }
      })

      it("S2: a result that does not fit its schema is not sent, over a socket or in a live query", async () => {
        const peer = await deployment.connect(newTenant("s2"))
        for (const tag of ["end", "live:end"]) {
          const exit = await peer.call(tag, { ending: "result that does not fit" })
          expect(defectOf(exit)).toMatchObject({ _tag: "InternalError" })
        }
        expect(peer.texts.join()).not.toContain("password")
      })

      it("S2: a declared failure is sent as it is", async () => {
        for (const tag of ["end", "notes.addAndEnd", "act.end"]) {
          const exit = await call(deployment, newTenant("s2"), tag, { ending: "typed failure" })
          expect(errorOf(exit)).toEqual({ _tag: "Refused", why: "because" })
        }
      })
    })
  })
