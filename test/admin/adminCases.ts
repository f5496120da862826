import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as SchemaTarget from "../../src/services/storage/SchemaTarget.ts"
import { call, defectOf, errorOf, newTenant, post, request } from "../deployment/Deployment.ts"
import { forAllAsync, Violation } from "../random.ts"
import { key, Person } from "../worker/admin.ts"
import {
  type Client,
  clientOf,
  exportOf,
  finish,
  importAll,
  lineOf,
  type OperatedDeployment,
  randomRows,
  sorted
} from "./operated.ts"

/** An app that is operated by a key, in memory and in workerd: that of `test/worker/admin.ts`. */
export const suite = (
  name: string,
  start: () => Promise<OperatedDeployment>,
  { histories, rows }: { readonly histories: number; readonly rows: number }
) =>
  describe(name, () => {
    let app: OperatedDeployment
    let admin: Client
    beforeAll(async () => {
      app = await start()
      admin = clientOf(app)
    })
    afterAll(() => app?.close?.())

    const fresh = (what: string) => newTenant(`adm-${what}`)
    const sql = (tenant: string, statement: string, more: object = {}) =>
      admin.done("sql", { tenant, statement, ...more })
    const names = async (tenant: string): Promise<ReadonlyArray<string>> =>
      (await sql(tenant, "SELECT name FROM people ORDER BY name")).rows.map(([name]: any) => name)

    const ask = (init: RequestInit & { readonly headers?: Record<string, string> }) =>
      app.fetch("/admin/rpc", {
        method: "POST",
        body: JSON.stringify(request("1", "sql", { tenant: "adm-asked", statement: "SELECT 1" })),
        ...init
      })

    describe("the key", () => {
      it("AD1: without the key there is 401 and nothing else, and no object is woken", async () => {
        const tenant = "adm-asked"
        const wrong: ReadonlyArray<Record<string, string>> = [
          {},
          { authorization: "Bearer" },
          { authorization: "Bearer " },
          { authorization: `Bearer ${key.slice(0, -1)}` },
          { authorization: `Bearer ${key}x` },
          { authorization: `Bearer ${key} ${key}` },
          { authorization: `Basic ${key}` },
          { authorization: key },
          { "x-dormouse-session": JSON.stringify({ tenant, identity: { subject: null, claims: { system: true } } }) },
          { "sec-websocket-protocol": `dormouse, dormouse.bearer.${key.toUpperCase()}` }
        ]
        for (const headers of wrong) {
          for (const method of ["POST", "GET", "OPTIONS"]) {
            const response = await ask({ headers, method, ...(method !== "POST" && { body: null }) })
            const seen = { headers, status: response.status, text: await response.text() }
            expect(seen).toEqual({ headers, status: 401, text: "" })
          }
        }
        expect(app.starts(tenant)).toBe(0)
        // The control: with the key there is an answer.
        const response = await ask({ headers: { authorization: `Bearer ${key}` } })
        expect([response.status, app.starts(tenant)]).toEqual([200, 1])
      })

      it("AD1: with the key only requests of the contract are answered", async () => {
        const headers = { authorization: `Bearer ${key}` }
        expect((await ask({ headers, method: "GET", body: null })).status).toBe(405)
        expect((await ask({ headers, body: "{" })).status).toBe(400)
        expect((await ask({ headers, body: "[1]" })).status).toBe(400)
        const unknown = await ask({
          headers,
          body: JSON.stringify(request("1", "~admin.read", { statement: "SELECT 1" }))
        })
        const [{ exit }] = (await unknown.json()) as ReadonlyArray<any>
        expect(errorOf(exit)).toMatchObject({ _tag: "CallError", reason: { _tag: "UnknownRpc" } })
        expect((await app.fetch("/admin/rpc/x", { method: "POST", headers })).status).toBe(404)
      })

      it("AD2: what objects do for the admin is not in the contract of clients", async () => {
        const tenant = fresh("reach")
        await admin.done("sql", { tenant, statement: "SELECT 1" })
        const tags = ["read", "write", "page", "imported", "forget", "import", "finish"].map((tag) => `~admin.${tag}`)
        const peer = await app.connect(tenant)
        for (const tag of [...tags, ...tags.map((tag) => `live:${tag}`)]) {
          const payload = { statement: "SELECT 1", cursor: null, id: "x" }
          for (const exit of [await call(app, tenant, tag, payload), await peer.call(tag, payload)]) {
            expect([tag, errorOf(exit)]).toMatchObject([tag, { _tag: "CallError", reason: { _tag: "UnknownRpc" } }])
          }
          // An action cannot call them either.
          const exit = await call(app, tenant, "act.call", { tag, payload })
          expect([tag, defectOf(exit)]).toMatchObject([tag, { _tag: "InternalError" }])
        }
        // The key is no token of a caller.
        const response = await post(app, tenant, JSON.stringify(request("1", "whoami", {})), {
          authorization: `Bearer ${key}`
        })
        expect(response.status).toBe(401)
        peer.close()
      })
    })

    describe("SQL", () => {
      it("AD3: a statement without `write` writes nothing", async () => {
        const tenant = fresh("read")
        await call(app, tenant, "people.add", { name: "ada" })
        const before = await exportOf(admin, tenant)
        for (const statement of [
          "DELETE FROM people",
          "UPDATE people SET name = 'x' RETURNING *",
          "INSERT INTO posts (id, text) VALUES ('a', 'b')",
          "WITH gone AS (SELECT 1) DELETE FROM people",
          "SELECT 1; DELETE FROM people",
          "CREATE TABLE x (y)",
          "DROP TABLE people",
          "PRAGMA user_version = 4",
          "PRAGMA defer_foreign_keys = ON",
          "BEGIN",
          "VACUUM",
          "SELECT * FROM nowhere",
          "not SQL"
        ]) {
          const error = await admin.refused("sql", { tenant, statement })
          expect([statement, error._tag]).toEqual([statement, "StatementRefused"])
        }
        expect(await exportOf(admin, tenant)).toEqual(before)
        expect((await sql(tenant, "SELECT count(*) AS n FROM people")).rows).toEqual([[1]])
      })

      it("AD3: values are those of SQLite, and a long result says that it is cut", async () => {
        const tenant = fresh("values")
        const statement = "SELECT NULL AS a, 1.5 AS b, 'x' AS b, x'00ff' AS c, 9e999 AS d, ? AS e, ? AS f, ? AS g"
        const params = ["text", { bytes: "AQI=" }, { number: "-Infinity" }]
        const result = await sql(tenant, statement, { params })
        expect(result).toEqual({
          columns: ["a", "b", "b", "c", "d", "e", "f", "g"],
          rows: [[null, 1.5, "x", { bytes: "AP8=" }, { number: "Infinity" }, ...params]],
          truncated: false,
          written: 0
        })
        const counting =
          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) SELECT i FROM n"
        const cut = async (more: object) => {
          const { rows, truncated } = await sql(tenant, counting, more)
          return [rows.length, truncated]
        }
        expect(await cut({})).toEqual([1000, true])
        expect(await cut({ maxRows: 2499 })).toEqual([2499, true])
        expect(await cut({ maxRows: 2500 })).toEqual([2500, false])
        expect(await cut({ maxRows: 0 })).toEqual([0, true])
        const large = await sql(tenant, `SELECT hex(zeroblob(200000)) FROM (${counting}) LIMIT 9`)
        expect([large.rows.length, large.truncated]).toEqual([2, true])
        // Whoever only looks makes no database.
        expect(await app.tables(tenant)).toEqual([])
      })

      it("AD4: a statement that may write reaches live queries as a mutation does", async () => {
        const tenant = fresh("write")
        const peer = await app.connect(tenant)
        peer.send(request("live", "live:people.list", {}))
        await peer.itemsOf("live", 1)
        peer.send({ _tag: "Ack", requestId: "live" })
        await call(app, tenant, "people.add", { name: "ada" })
        await peer.itemsOf("live", 2)
        peer.send({ _tag: "Ack", requestId: "live" })
        const result = await sql(tenant, "UPDATE people SET name = 'grace' RETURNING name", { write: true })
        expect(result).toEqual({ columns: ["name"], rows: [["grace"]], truncated: false, written: 1 })
        await peer.until(() => JSON.stringify(peer.items("live")).includes("grace"))
        expect(await sql(tenant, "SELECT name FROM people", { write: true })).toMatchObject({
          written: 0,
          rows: [["grace"]]
        })
        peer.close()
      })

      it("AD4: what raw SQL may not write, the key may not write either", async () => {
        const tenant = fresh("guarded")
        await call(app, tenant, "posts.add", { text: "first" })
        await call(app, tenant, "people.add", { name: "ada" })
        const before = await exportOf(admin, tenant)
        const engine = (await app.tables(tenant)).filter((table) => table.startsWith("_dormouse"))
        expect(engine.length).toBeGreaterThan(2)
        for (const statement of [
          "DELETE FROM posts",
          ...engine.map((table) => `DELETE FROM "${table}"`),
          "DROP TABLE people",
          "CREATE INDEX x ON people (name)",
          "DELETE FROM people; DELETE FROM people",
          "PRAGMA foreign_keys = OFF",
          // It violates a constraint, and the row before it goes too.
          "INSERT INTO things SELECT 1, 'nobody', '', 0, 0, 'p00010', x'', 0, '[]', NULL, NULL, NULL, '1', ''"
        ]) {
          const error = await admin.refused("sql", { tenant, statement, write: true })
          expect([statement, error._tag]).toEqual([statement, "StatementRefused"])
        }
        expect(await exportOf(admin, tenant)).toEqual(before)
        // Policies do not apply.
        await sql(tenant, "INSERT INTO secrets VALUES ('a', 'seen')", { write: true })
        expect((await sql(tenant, "SELECT text FROM secrets")).rows).toEqual([["seen"]])
      })
    })

    describe("calls", () => {
      const run = (tenant: string, tag: string, payload: unknown = {}, as?: object) =>
        admin.done("run", { tenant, tag, payload, ...(as && { as }) })

      it("AD5: a call ends as that of a client, in the name of any caller", async () => {
        const tenant = fresh("run")
        const client = await call(app, tenant, "people.add", { name: "ada" })
        const { exit, values } = await run(tenant, "people.add", { name: "grace" })
        expect(values).toEqual([])
        expect(Object.keys(exit.value)).toEqual(Object.keys(client.value))
        for (const [tag, payload] of [
          ["people.add", { name: "nobody" }],
          ["people.add", { name: "" }],
          ["act.add", { name: "nobody" }],
          ["nothing", {}]
        ] as const) {
          expect([tag, (await run(tenant, tag, payload)).exit]).toEqual([tag, await call(app, tenant, tag, payload)])
        }
        expect((await run(tenant, "act.add", { name: "hedy" })).exit).toMatchObject({ value: { name: "hedy" } })
        expect(await run(tenant, "act.count", { to: 3 })).toMatchObject({
          values: [1, 2, 3],
          exit: { _tag: "Success" }
        })
        expect(await names(tenant)).toEqual(["ada", "grace", "hedy"])
        const as = { subject: "ada", claims: { team: "red", more: 1 } }
        expect((await run(tenant, "whoami", {}, as)).exit.value).toEqual({ subject: "ada", claims: { team: "red" } })
        expect((await run(tenant, "whoami")).exit.value).toEqual({ subject: null, claims: {} })
        const error = await admin.refused("run", {
          tenant,
          tag: "whoami",
          payload: {},
          as: { subject: "ada", claims: {} }
        })
        expect(error._tag).toBe("IdentityInvalid")
        // A policy that allows nothing applies to calls.
        expect((await run(tenant, "secrets.list", {}, as)).exit).toMatchObject({ value: [] })
      })

      it("AD5: internal rpcs can be called, those of the engine, live queries and topics cannot", async () => {
        const tenant = fresh("internal")
        expect((await run(tenant, "hidden")).exit).toEqual({ _tag: "Success", value: "seen" })
        for (const tag of ["~admin.read", "live:people.list", "posts.changes", "~outbox.add"]) {
          expect([tag, errorOf((await run(tenant, tag)).exit)]).toMatchObject([tag, { reason: { _tag: "UnknownRpc" } }])
        }
      })

      it("AD5: the live queries of a tenant are explained", async () => {
        const tenant = fresh("explain")
        const peer = await app.connect(tenant)
        peer.send(request("live", "live:people.named", { name: "ada" }))
        await peer.itemsOf("live", 1)
        const [query] = await admin.done("explain", { tenant })
        expect(query).toMatchObject({ tag: "people.named", payload: { name: "ada" }, subscribers: 1, runs: 1 })
        peer.close()
      })
    })

    describe("export and import", () => {
      it("AD6: rows that do not change are there once, whatever is written meanwhile", async () => {
        await forAllAsync(Math.min(histories, 2), async (random) => {
          const tenant = fresh("export")
          const kept = random.array(rows, (i) =>
            lineOf("posts", { id: `k${String(i).padStart(6, "0")}`, text: "x".repeat(3000) })
          )
          await importAll(admin, tenant, kept)
          let written = 0
          const versions = new Set<number>()
          const lines = await exportOf(admin, tenant, async ({ version }) => {
            versions.add(version)
            const text = random.pick(["before", "after"])
            await call(app, tenant, "posts.add", { text })
            written++
          })
          expect(written).toBeGreaterThan(1)
          expect(versions.size).toBe(written)
          const found = lines.filter((line) => line.includes('"id":"k'))
          if (JSON.stringify(found) !== JSON.stringify(kept)) throw new Violation("a row is missing, or is there twice")
          // Without a write all pages are of one version.
          const still = new Set<number>()
          await exportOf(admin, tenant, async ({ version }) => void still.add(version))
          expect(still.size).toBe(1)
        })
      })

      it("AD6: a cursor is one of an export, and a tenant without rows stays empty", async () => {
        const tenant = fresh("cursor")
        expect(await admin.done("export", { tenant, cursor: null })).toMatchObject({ lines: "", rows: 0, cursor: null })
        expect(await app.tables(tenant)).toEqual([])
        for (const cursor of [
          "",
          "x",
          "[]",
          '["people"]',
          '["nowhere","a"]',
          '["things","a"]',
          '["keys","%"]',
          '["things",null]'
        ]) {
          const error = await admin.refused("export", { tenant, cursor })
          expect([cursor, error._tag]).toEqual([cursor, "ExportRefused"])
        }
      })

      it("AD6: a stored row that does not fit its column is named", async () => {
        const tenant = fresh("misfit")
        await call(app, tenant, "people.add", { name: "ada" })
        await sql(tenant, "UPDATE people SET createdAt = 'yesterday'", { write: true })
        const error = await admin.refused("export", { tenant, cursor: null })
        expect(error.detail).toMatch(/^the row "[^"]+" of table people does not fit its columns: column createdAt/)
      })

      it("AD7: what was exported and imported is equal, with every kind of column and reference", async () => {
        await forAllAsync(histories, async (random) => {
          const made = randomRows(random, 40)
          const given = made.map(([table, row]) => lineOf(table, row))
          const [first, second] = [fresh("first"), fresh("second")]
          // In any order: rows wait for those that they refer to.
          const size = 1 + random.int(30)
          const state = await importAll(admin, first, random.shuffle(given), { size })
          expect(state).toMatchObject({ written: given.length, skipped: 0, waiting: 0, isDone: true })
          const exported = await exportOf(admin, first)
          if (JSON.stringify(sorted(exported)) !== JSON.stringify(sorted(given))) throw new Violation("rows differ")
          await importAll(admin, second, exported, { size: 1 + random.int(30) })
          expect(await exportOf(admin, second)).toEqual(exported)
          for (const table of ["people", "things", "locks", "keys", "secrets", "posts"]) {
            const statement = `SELECT * FROM ${table} ORDER BY 1`
            expect(await sql(second, statement)).toEqual(await sql(first, statement))
          }
          expect(await sql(second, "PRAGMA foreign_key_check").catch(() => "refused")).toBe("refused")
          expect(await call(app, second, "people.list", {})).toEqual(await call(app, first, "people.list", {}))
        })
      })

      it("AD8: an import that is cut anywhere, and batches that are sent again, end with the same rows", async () => {
        await forAllAsync(histories, async (random) => {
          const tenant = fresh("cut")
          const given = random.shuffle(randomRows(random, 30).map(([table, row]) => lineOf(table, row)))
          const send = async (after: number, size: number) => {
            const lines = given.slice(after, after + size).join("\n")
            return admin.done("import.batch", { tenant, id: "cut", after, lines, onConflict: "fail", isSeed: false })
          }
          let { line } = await admin.done("import.begin", { tenant, id: "cut" })
          while (line < given.length) {
            const size = 1 + random.int(20)
            const state = await send(line, size)
            // Its answer may be lost, and the object may have hibernated.
            if (random.chance(0.3)) await app.evict(tenant)
            if (random.chance(0.3)) expect(await send(line, size)).toEqual(state)
            if (random.chance(0.2)) {
              const from = Math.max(0, line - 3)
              expect(await send(from, state.line - from)).toEqual(state)
            }
            if (random.chance(0.2)) {
              const begun = await admin.done("import.begin", { tenant, id: "cut" })
              expect(begun).toEqual(state)
            }
            const ahead = { tenant, id: "cut", after: state.line + 1, lines: "", onConflict: "fail", isSeed: false }
            if (state.line < given.length)
              expect((await admin.refused("import.batch", ahead))._tag).toBe("ImportRefused")
            line = state.line
          }
          const ended = await finish(admin, tenant, "cut")
          expect(await finish(admin, tenant, "cut")).toEqual(ended)
          expect(await send(0, given.length)).toEqual(ended)
          expect(sorted(await exportOf(admin, tenant))).toEqual(sorted(given))
        })
      })

      it("AD8: the control: without the place in the file, what is sent again is refused", async () => {
        const tenant = fresh("control")
        const line = lineOf("posts", { id: "a", text: "once" })
        const batch = { tenant, after: 0, lines: line, onConflict: "fail", isSeed: false }
        await admin.done("import.batch", { ...batch, id: "one" })
        expect((await admin.done("import.batch", { ...batch, id: "one" })).written).toBe(1)
        expect((await admin.refused("import.batch", { ...batch, id: "another" })).detail).toContain("already")
      })

      it("AD8: a line that cannot be imported is named, and nothing of its batch is written", async () => {
        const tenant = fresh("refused")
        const person = (id: string, more: object = {}) =>
          lineOf("people", {
            id,
            name: "x",
            email: null,
            boss: null,
            role: "member",
            createdAt: 1,
            changedAt: 1,
            ...more
          })
        await importAll(admin, tenant, [person("taken", { email: "a@x" })], { id: "before" })
        const before = await exportOf(admin, tenant)
        const wrong: ReadonlyArray<readonly [line: string, detail: RegExp]> = [
          ["not JSON", /^not a row/],
          ["[]", /^not a row/],
          ['{"table":"people"}', /^not a row/],
          ['{"table":"nowhere","row":{}}', /^the app has no table nowhere$/],
          ['{"table":"_dormouse_imports","row":{}}', /^the app has no table/],
          [person("b", { more: 1 }), /^table people has no column more$/],
          [person("b", { name: "" }), /name/],
          [person("b", { role: "king" }), /role/],
          [person("b", { createdAt: "soon" }), /createdAt/],
          [lineOf("people", { id: "b" }), /createdAt/],
          [person("taken"), /^table people has a row with this key already$/],
          [person("a"), /^table people has a row with this key already$/],
          [person("b", { email: "a@x" }), /same value of byEmail/]
        ]
        for (const [line, detail] of wrong) {
          const batch = {
            tenant,
            id: "wrong",
            after: 0,
            lines: [person("a"), "", line].join("\n"),
            onConflict: "fail",
            isSeed: false
          }
          const error = await admin.refused("import.batch", batch)
          expect([line, error._tag, error.line]).toEqual([line, "ImportRefused", 3])
          expect(error.detail).toMatch(detail)
        }
        expect(await exportOf(admin, tenant)).toEqual(before)
        expect(await admin.done("import.begin", { tenant, id: "wrong" })).toMatchObject({ line: 0, written: 0 })
        // The end of an import that has not begun does not keep it from beginning.
        await finish(admin, tenant, "wrong")
        expect(await importAll(admin, tenant, [person("a")], { id: "wrong" })).toMatchObject({ written: 1 })
      })

      it("AD9: no reference is broken: a row that refers to nothing is refused in the end", async () => {
        const tenant = fresh("broken")
        const lines = [lineOf("locks", { id: "1", key: "AQ==" }), lineOf("keys", { id: "AQ==", lock: "2" })]
        const error = await importAll(admin, tenant, lines).then(
          () => undefined,
          (error) => String(error)
        )
        expect(error).toMatch(
          /line [12]: (locks\.key|keys\.lock) refers to a row of table (keys|locks) that does not exist/
        )
        expect(await exportOf(admin, tenant)).toEqual([])
        // What was missing comes with another import.
        await importAll(
          admin,
          tenant,
          [lineOf("locks", { id: "2", key: "Ag==" }), lineOf("keys", { id: "Ag==", lock: "2" })],
          {
            id: "other"
          }
        )
        expect(await finish(admin, tenant, "all")).toMatchObject({ written: 2, waiting: 0, isDone: true })
      })

      it("AD9: a row whose key is there fails, is left out or is replaced, as asked", async () => {
        const tenant = fresh("conflict")
        const row = (id: string, text: string) => lineOf("posts", { id, text })
        await importAll(admin, tenant, [row("a", "old"), row("b", "old")])
        const again = [row("b", "new"), row("c", "new"), row("c", "newer")]
        const skipped = await importAll(admin, tenant, again, { id: "skip", onConflict: "skip" })
        expect(skipped).toMatchObject({ written: 1, skipped: 2 })
        expect(await exportOf(admin, tenant)).toEqual([row("a", "old"), row("b", "old"), row("c", "new")])
        await importAll(admin, tenant, again, { id: "replace", onConflict: "replace" })
        expect(await exportOf(admin, tenant)).toEqual([row("a", "old"), row("b", "new"), row("c", "newer")])
        // Forgotten, the import runs again.
        expect(await admin.done("import.begin", { tenant, id: "replace", again: true })).toMatchObject({ line: 0 })
      })

      it("AD10: live queries and change feeds see imported rows", async () => {
        const tenant = fresh("seen")
        const peer = await app.connect(tenant)
        peer.send(
          request("live", "live:people.named", { name: "ada" }),
          request("feed", "posts.changes", { after: "start" })
        )
        await peer.itemsOf("live", 1)
        peer.send({ _tag: "Ack", requestId: "live" })
        const row = { id: "p", name: "ada", email: null, boss: null, role: "admin", createdAt: 1, changedAt: 2 }
        await importAll(admin, tenant, [lineOf("people", row), lineOf("posts", { id: "x", text: "imported" })])
        await peer.until(() => JSON.stringify(peer.items("live")).includes('"createdAt":1'))
        await peer.until(() => JSON.stringify(peer.items("feed")).includes("imported"))
        peer.close()
      })

      it("AD11: a seed is an insert of each row: keys, times and defaults are filled in, once", async () => {
        const tenant = fresh("seed")
        const lines = [
          lineOf("people", { id: "boss", name: "ada", email: null, boss: null }),
          lineOf("people", { name: "grace", email: null, boss: "boss" })
        ]
        const options = { id: "seed", isSeed: true }
        expect(await importAll(admin, tenant, lines, options)).toMatchObject({ written: 2 })
        expect(await importAll(admin, tenant, lines, options)).toMatchObject({ written: 2 })
        const { value } = await call(app, tenant, "people.list", {})
        expect(value).toMatchObject([
          { name: "ada", role: "member", id: "boss" },
          { name: "grace", role: "member", boss: "boss" }
        ])
        expect(value[1].id).toMatch(/^[0-9a-f-]{36}$/)
        expect(value[1].createdAt).toBeGreaterThan(1)
        const batch = (row: object) => ({
          tenant,
          id: "other",
          after: 0,
          lines: lineOf("people", row),
          onConflict: "fail",
          isSeed: true
        })
        const timed = { name: "x", email: null, boss: null, createdAt: 1 }
        expect((await admin.refused("import.batch", batch(timed))).detail).toMatch(/fills in column createdAt/)
        expect((await admin.refused("import.batch", batch({ name: "x" }))).detail).toMatch(/email/)
        expect((await admin.refused("import.batch", batch({ nmae: "x" }))).detail).toMatch(/no column nmae/)
      })
    })

    describe("plans", () => {
      class Renamed extends Model.Class<Renamed>("test/admin/Renamed")({
        id: Table.key(Schema.String),
        body: Schema.String
      }) {}
      const renamed = Table.make("posts", Renamed, { key: "id", renamedFrom: { columns: { body: "text" } } })
      const unique = Table.make("people", Person, {
        key: "id",
        indexes: { byName: { columns: ["name"], unique: true } },
        references: { boss: { table: (): Table.Any => unique, onDelete: "setNull" } }
      })
      const targetOf = (...tables: ReadonlyArray<Table.Any>) => SchemaTarget.toData(SchemaTarget.targetOf(tables, {}))
      const schemaOf = async (tenant: string) =>
        (await sql(tenant, "SELECT name, sql FROM sqlite_master ORDER BY name")).rows

      it("AD14, MG7: a plan says what a start would change, of the version that runs and of others, and changes nothing", async () => {
        const tenant = fresh("plan")
        for (const name of ["ada", "ada"]) await call(app, tenant, "people.add", { name })
        const before = [await schemaOf(tenant), await exportOf(admin, tenant)]
        expect(await admin.done("plan", { tenant })).toMatchObject({ isCurrent: true, problems: [], statements: [] })

        expect(await admin.done("plan", { tenant, target: targetOf(renamed) })).toMatchObject({
          isCurrent: false,
          problems: [],
          renames: [{ table: "posts", kind: "column", from: "text", to: "body" }],
          statements: [{ table: "posts", sql: 'ALTER TABLE "posts" RENAME COLUMN "text" TO "body"' }]
        })
        const refused = await admin.done("plan", { tenant, target: targetOf(unique) })
        expect(refused.problems).toMatchObject([
          { table: "people", problem: "index byName must be unique, and rows have equal values" }
        ])
        expect([await schemaOf(tenant), await exportOf(admin, tenant)]).toEqual(before)
        await call(app, tenant, "people.add", { name: "ben" })
        expect(await names(tenant)).toEqual(["ada", "ada", "ben"])
      })

      it("AD14: a plan of a tenant without data creates its tables, and leaves none", async () => {
        const tenant = fresh("planned")
        const { problems, statements } = await admin.done("plan", { tenant, target: targetOf(renamed) })
        expect(problems).toEqual([])
        expect(statements).toMatchObject([{ table: "posts", sql: expect.stringContaining('CREATE TABLE "posts"') }])
        expect(await app.tables(tenant)).toEqual([])
      })

      it("AD14: an object that cannot start says why, and whether another version could", async () => {
        const tenant = fresh("stuck")
        await call(app, tenant, "people.add", { name: "ada" })
        expect((await admin.done("plan", { tenant })).problems).toEqual([])
        // As a version left it whose posts had a number of another type.
        await app.damage(
          tenant,
          `UPDATE _dormouse_schema SET tables = replace(tables, '{"name":"text","type":"TEXT","kind":"text"', '{"name":"text","type":"INTEGER","kind":"integer"')`
        )
        await app.evict(tenant)
        const refused = await admin.refused("sql", { tenant, statement: "SELECT 1" })
        expect(refused).toMatchObject({ _tag: "CallError", reason: { _tag: "Unavailable" } })
        const { problems } = await admin.done("plan", { tenant })
        expect(problems).toContainEqual(
          expect.objectContaining({ column: "text", problem: "changed from integer to text" })
        )
        expect(await admin.done("plan", { tenant, target: targetOf() })).toMatchObject({ problems: [] })
      })

      it("AD14: what is no description of tables is refused, and wakes no object", async () => {
        const tenant = fresh("unplanned")
        const good = targetOf(renamed)
        const [table] = good.tables
        const column = table!.columns[0]!
        const bad: ReadonlyArray<unknown> = [
          {},
          { ...good, tables: [{ ...table, key: "none" }] },
          { ...good, tables: [{ ...table, columns: [{ ...column, type: "TEXT); DROP TABLE people; --" }] }] },
          { ...good, tables: [{ ...table, defaults: { id: "1); DROP TABLE people; --" } }] },
          { ...good, tables: [{ ...table, references: [{ column: "id", table: "none", onDelete: "cascade" }] }] },
          { ...good, migrations: [{ id: "m", table: "none", from: [], fills: [], isConcurrent: false }] }
        ]
        for (const target of bad) {
          const body = JSON.stringify(request("1", "plan", { tenant, target }))
          const response = await ask({ headers: { authorization: `Bearer ${key}` }, body })
          const [{ exit }] = (await response.json()) as ReadonlyArray<any>
          expect(errorOf(exit)).toMatchObject({ _tag: "CallError", reason: { _tag: "PayloadInvalid" } })
        }
        expect(app.starts(tenant)).toBe(0)
      })
    })

    describe("tenants", () => {
      const registered = () => clientOf(app, { headers: { "x-dormouse-tenant": "reg-admin" } })

      it("AD12: a tenant that cannot be is not there, and without a registry there is no list", async () => {
        for (const [tag, more] of [
          ["sql", { statement: "SELECT 1" }],
          ["export", { cursor: null }],
          ["run", { tag: "whoami", payload: {} }],
          ["explain", {}],
          ["plan", {}],
          ["import.begin", { id: "x" }]
        ] as const) {
          const error = await admin.refused(tag, { tenant: "adm-none", ...more })
          expect([tag, error._tag]).toEqual([tag, "NoSuchTenant"])
        }
        expect(app.starts("adm-none")).toBe(0)
        expect((await admin.refused("tenants.list", { size: 10, after: null }))._tag).toBe("NoRegistry")
        expect((await admin.refused("tenants.create", { tenant: "adm-x" }))._tag).toBe("NoRegistry")
        await expect(admin.refused("sql", { tenant: "~system", statement: "SELECT 1" })).rejects.toThrow()
      })

      it("AD12: tenants of a registry are listed and changed, and looking creates none", async () => {
        const { done, refused } = registered()
        const tenant = newTenant("reg-operated")
        const statement = "SELECT count(*) FROM notes"
        expect((await refused("sql", { tenant, statement }))._tag).toBe("NoSuchTenant")
        const created = await done("tenants.create", { tenant })
        expect(created).toMatchObject({ name: tenant, state: "active", isSettled: true })
        expect((await refused("tenants.create", { tenant }))._tag).toBe("TenantExists")
        expect((await done("sql", { tenant, statement })).rows).toEqual([[0]])
        const listed = await done("tenants.list", { size: 1000, after: null })
        expect(listed.items.map(({ name }: any) => name)).toContain(tenant)
        await done("tenants.suspend", { tenant })
        expect((await refused("sql", { tenant, statement }))._tag).toBe("NoSuchTenant")
        await done("tenants.resume", { tenant })
        await done("run", { tenant, tag: "notes.add", payload: { body: "kept" } })
        expect((await done("sql", { tenant, statement })).rows).toEqual([[1]])
        await done("tenants.delete", { tenant })
        expect((await refused("tenants.delete", { tenant }))._tag).toBe("NoSuchTenant")
        expect((await refused("export", { tenant, cursor: null }))._tag).toBe("NoSuchTenant")
      })
    })
  })
