/// <reference types="node" />
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { newTenant } from "../deployment/Deployment.ts"
import { forAllAsync, Random, startSeed, Violation } from "../random.ts"
import { key } from "../worker/admin.ts"
import { command, type Surroundings } from "./commands.ts"
import { clientOf, importAll, lineOf, randomRows, sorted } from "./operated.ts"

/** Where the commands find the app. */
export interface Operated {
  readonly url: string
  readonly fetch: typeof globalThis.fetch
  readonly close: () => Promise<void>
}

/** The commands on a running app, over a backend in memory and over a real workerd. */
export const suite = (name: string, start: () => Promise<Operated>, { histories }: { readonly histories: number }) =>
  describe(name, () => {
    const folder = mkdtempSync(join(tmpdir(), "dormouse-admin-"))
    const at = (file: string) => join(folder, file)
    let app: Operated
    beforeAll(async () => {
      app = await start()
    })
    afterAll(async () => {
      await app?.close()
      rmSync(folder, { recursive: true, force: true })
    })

    const surroundings = (more: Surroundings = {}): Surroundings => ({
      env: { DORMOUSE_KEY: key, DORMOUSE_URL: app.url },
      fetch: app.fetch,
      ...more
    })
    const dormouse = (...args: ReadonlyArray<string>) => command(surroundings())(...args)
    const client = () => clientOf({ fetch: (path, init) => app.fetch(`${app.url}${path}`, init) })
    const fresh = (what: string) => newTenant(`adm-${what}`)
    const fill = async (tenant: string, random: Random, most = 40) => {
      const lines = randomRows(random, most).map(([table, row]) => lineOf(table, row))
      await importAll(client(), tenant, lines)
      return lines
    }
    const rowsIn = (file: string) => readFileSync(at(file), "utf8").trimEnd().split("\n").slice(1, -1)

    it("AD13: `sql` prints a table or lines of JSON, reads from the input, and needs a word to write", async () => {
      const tenant = fresh("sql")
      const rows = [1, 2].map((i) => lineOf("posts", { id: `p${i}`, text: i === 1 ? "one\u001b[31m" : "two" }))
      await importAll(client(), tenant, rows)
      const select = "SELECT id, text, length(text) AS size FROM posts ORDER BY id"
      expect(await dormouse("sql", select, "-t", tenant)).toEqual({
        isSuccess: true,
        out: "id  text           size\n──  ─────────────  ────\np1  one\\u001b[31m     8\np2  two               3\n(2 rows)\n",
        err: ""
      })
      const json = '{"id":"p2","text":"two","size":3}\n'
      const reading = command(surroundings({ input: `${select.replace("ORDER", "WHERE id = 'p2' ORDER")}\n` }))
      expect(await reading("sql", "-", "--json", "-t", tenant)).toEqual({ isSuccess: true, out: json, err: "" })
      expect(await dormouse("sql", select, "--max-rows", "1", "-t", tenant)).toMatchObject({
        out: expect.stringContaining("(1 row)"),
        err: "there are more rows: raise --max-rows, or select fewer\n"
      })
      const write = ["sql", "DELETE FROM things", "-t", tenant]
      const refused = await dormouse(...write)
      expect(refused).toMatchObject({ isSuccess: false, out: "" })
      expect(refused.err).toContain("this statement writes")
      expect(await dormouse(...write, "--write")).toMatchObject({ isSuccess: true, err: "" })
      expect((await dormouse("sql", "SELECT * FROM nowhere", "-t", tenant)).err).toContain("no such table: nowhere")
    })

    it("AD13: `run` prints the value of a call, and fails with its error", async () => {
      const tenant = fresh("run")
      const run = (...args: ReadonlyArray<string>) => dormouse("run", ...args, "--tenant", tenant)
      const added = await run("people.add", '{"name":"ada"}')
      expect(JSON.parse(added.out)).toMatchObject({ name: "ada" })
      expect(await run("act.count", '{"to":3}')).toEqual({ isSuccess: true, out: "1\n2\n3\n", err: "" })
      const failed = await run("people.add", '{"name":"nobody"}')
      expect(failed).toMatchObject({ isSuccess: false, out: "" })
      expect(failed.err).toContain('{"_tag":"Refused","why":"no name"}')
      const as = ["--as", '{"subject":"ada","claims":{"team":"red"}}']
      expect(await run("whoami", ...as)).toMatchObject({ out: '{"subject":"ada","claims":{"team":"red"}}\n' })
      expect((await run("whoami", "--as", '{"subject":"ada"}')).err).toContain("claims")
      expect((await run("people.add", "{")).err).toContain("the payload is not what it should be")
      const reading = command(surroundings({ input: '{"name":"grace"}', isTerminal: true }))
      expect((await reading("run", "people.add", "-", "--tenant", tenant)).out).toContain('\n  "name": "grace"')
    })

    it("AD13: `explain` says what live queries read, and there are none at first", async () => {
      expect(await dormouse("explain", "-t", fresh("explain"))).toEqual({
        isSuccess: true,
        out: "no live queries\n",
        err: ""
      })
    })

    it("AD13: without the key, or with a wrong one, a command says what is missing", async () => {
      const without = await command(surroundings({ env: { DORMOUSE_URL: app.url } }))("sql", "SELECT 1")
      expect(without).toMatchObject({ isSuccess: false, out: "" })
      expect(without.err).toContain("give the admin key: --key, or the variable DORMOUSE_KEY")
      const wrong = await dormouse("sql", "SELECT 1", "--key", "x".repeat(20))
      expect(wrong.err).toContain("the key is not the admin key of this app")
      expect((await dormouse("sql", "SELECT 1", "--tenant", "no tenant")).err).toContain("the name of a tenant")
      for (const args of [
        ["export", at("never"), "--all", "--tenants", "a,~system"],
        ["tenants", "create", "~tenants"]
      ]) {
        expect((await dormouse(...args)).err).toContain("no tenant can be named")
      }
      expect((await dormouse("sql", " ")).err).toContain("there is no statement")
      expect((await dormouse("sql", "SELECT 1", "--max-rows", "10001")).err).toContain("between 0 and 10000")
      expect((await dormouse("sql", "SELECT 1", "-t", "adm-none")).isSuccess).toBe(false)
      expect((await dormouse("tenants", "list")).err).toContain("the app has no registry of tenants")
      expect((await dormouse("tenants", "delete", "adm-x")).err).toContain("--yes")
    })

    it("AD13: a file of an export has a header, a line for each row and a checksum, and imports as it was", async () => {
      await forAllAsync(histories, async (random) => {
        const [from, to] = [fresh("from"), fresh("to")]
        const lines = await fill(from, random)
        const exported = await dormouse("export", at(`${from}.ndjson`), "-t", from)
        expect(exported).toMatchObject({ isSuccess: true, out: "" })
        const all = readFileSync(at(`${from}.ndjson`), "utf8")
          .trimEnd()
          .split("\n")
        expect(JSON.parse(all[0]!)).toMatchObject({ dormouse: "export", format: 1, tenant: from })
        expect(JSON.parse(all.at(-1)!)).toMatchObject({ end: true, rows: lines.length, isSnapshot: true })
        if (JSON.stringify(sorted(rowsIn(`${from}.ndjson`))) !== JSON.stringify(sorted(lines)))
          throw new Violation("the file has other rows")
        const imported = await dormouse("import", at(`${from}.ndjson`), "-t", to)
        expect(imported).toMatchObject({ isSuccess: true, out: "" })
        expect(imported.err).toContain(`${lines.length} rows written to ${to}`)
        const copy = await dormouse("export", "-", "-t", to)
        expect(copy.out.trimEnd().split("\n").slice(1, -1)).toEqual(rowsIn(`${from}.ndjson`))
        // The standard input is the same import.
        const input = readFileSync(at(`${from}.ndjson`), "utf8")
        const piped = await command(surroundings({ input }))("import", "-", "-t", to)
        expect(piped.err).toContain(`the standard input: nothing to do, ${to} has it already`)
        const other = fresh("piped")
        const first = await command(surroundings({ input }))("import", "-", "-t", other)
        expect(first.err).toContain(`the standard input: ${lines.length} rows written to ${other}`)
        const again = await dormouse("import", at(`${from}.ndjson`), "-t", to)
        expect(again.err).toContain("nothing to do")
        expect(
          (await dormouse("import", at(`${from}.ndjson`), "-t", to, "--again", "--on-conflict", "skip")).err
        ).toContain("0 rows written")
      })
    })

    it("AD13: commands that are cut at any request go on when they are repeated", async () => {
      await forAllAsync(histories, async (random) => {
        const [from, to] = [fresh("cut-from"), fresh("cut-to")]
        const lines = randomRows(random, 60).map(([table, row]) => lineOf(table, row))
        // Several pages: a page has about a megabyte.
        const large = random.array(30, (i) => lineOf("secrets", { id: `l${i}`, text: "x".repeat(90_000) }))
        const known = lines.filter((line) => !line.startsWith('{"table":"secrets"'))
        await importAll(client(), from, [...known, ...large], { size: 40 })
        /** Repeats a command that loses one request, a later one each time: before it arrives, or its answer. */
        const repeatedly = async (...args: ReadonlyArray<string>) => {
          for (let lost = 1; ; lost++) {
            let requests = 0
            const cut: typeof globalThis.fetch = async (input, init) => {
              if (++requests !== lost) return app.fetch(input, init)
              if (random.chance(0.5)) await (await app.fetch(input, init)).arrayBuffer()
              // A status that is not retried: the command ends here.
              return new Response(null, { status: 418 })
            }
            const { err, isSuccess } = await command(surroundings({ fetch: cut }))(...args)
            if (isSuccess) return lost
            expect(err).toContain("the status is 418")
          }
        }
        const file = at(`${from}.ndjson`)
        expect(await repeatedly("export", file, "-t", from, "--resume")).toBeGreaterThan(3)
        expect(sorted(rowsIn(`${from}.ndjson`))).toEqual(sorted([...known, ...large]))
        expect(await repeatedly("import", file, "-t", to)).toBeGreaterThan(3)
        expect((await dormouse("export", at(`${to}.ndjson`), "-t", to)).isSuccess).toBe(true)
        expect(rowsIn(`${to}.ndjson`)).toEqual(rowsIn(`${from}.ndjson`))
      })
    })

    it("AD13: an export whose file was cut at any byte goes on behind its last complete line", async () => {
      const tenant = fresh("bytes")
      await fill(tenant, new Random(startSeed()), 20)
      const whole = at("whole.ndjson")
      await dormouse("export", whole, "-t", tenant)
      const bytes = readFileSync(whole)
      await forAllAsync(histories * 2, async (random) => {
        writeFileSync(at("part.ndjson"), bytes.subarray(0, random.int(bytes.length)))
        expect(await dormouse("export", at("part.ndjson"), "-t", tenant, "--resume")).toMatchObject({ isSuccess: true })
        expect(readFileSync(at("part.ndjson"), "utf8")).toBe(bytes.toString())
      })
      const complete = await dormouse("export", whole, "-t", tenant, "--resume")
      expect(complete.err).toContain("is complete")
    })

    it("AD13: a file that was changed, cut, or is of other tables is refused before a row is sent", async () => {
      const [tenant, to] = [fresh("files"), fresh("untouched")]
      await fill(tenant, new Random(startSeed()), 20)
      await dormouse("export", at("good.ndjson"), "-t", tenant)
      const text = readFileSync(at("good.ndjson"), "utf8")
      const lines = text.trimEnd().split("\n")
      const header = JSON.parse(lines[0]!)
      const attempt = async (changed: string, ...more: ReadonlyArray<string>) => {
        writeFileSync(at("bad.ndjson"), changed)
        const ended = await dormouse("import", at("bad.ndjson"), "-t", to, ...more)
        expect(ended.isSuccess).toBe(false)
        return ended.err
      }
      expect(await attempt(text.replace('"tenant":"', '"tenant":"x'))).toContain("was changed")
      expect(await attempt(lines.slice(0, -1).join("\n"))).toContain("is not complete")
      expect(await attempt(lines.slice(1).join("\n"))).toContain("is not an export")
      const renamed = { ...header, tables: [{ ...header.tables[0], name: "persons" }] }
      expect(await attempt(JSON.stringify(renamed), "--incomplete")).toContain("the app has no table persons")
      const [table] = header.tables.filter(({ name }: any) => name === "people")
      const columns = table.columns.filter(({ name }: any) => name !== "name")
      const fewer = {
        ...header,
        tables: [{ ...table, columns: [...columns, { name: "more", kind: "text", required: true }] }]
      }
      expect(await attempt(JSON.stringify(fewer), "--incomplete")).toMatch(
        /table people has no column more; people\.name is required/
      )
      expect(await attempt("")).toContain("is not an export")
      expect((await dormouse("export", at("good.ndjson"), "-t", tenant)).err).toContain("--resume goes on with it")
      expect((await dormouse("export", at("good.ndjson"), "-t", to, "--resume")).err).toContain(
        `an export of tenant ${tenant}`
      )
      expect((await dormouse("import", at("none.ndjson"))).isSuccess).toBe(false)
      expect(
        (await dormouse("sql", "SELECT count(*) FROM sqlite_master WHERE name = 'people'", "--json", "-t", to)).out
      ).toBe('{"count(*)":1}\n')
      expect((await dormouse("sql", "SELECT count(*) AS n FROM people", "--json", "-t", to)).out).toBe('{"n":0}\n')
      // The control: without its last line it can be imported when that is asked for.
      writeFileSync(at("part.ndjson"), lines.slice(0, -1).join("\n"))
      const { err } = await dormouse("import", at("part.ndjson"), "-t", to, "--incomplete")
      expect(err).toContain(`${lines.length - 2} rows written`)
    })

    it("AD13: all tenants go to a folder and back, and progress is shown in a terminal only", async () => {
      const [one, two] = [fresh("one"), fresh("two")]
      for (const tenant of [one, two]) await fill(tenant, new Random(startSeed()), 10)
      const names = ["--tenants", `${one},${two}`]
      expect((await dormouse("export", at("all"), "--all")).err).toContain("name them with --tenants")
      const terminal = command(surroundings({ isTerminal: true }))
      const exported = await terminal("export", at("all"), "--all", ...names)
      expect(exported).toMatchObject({ isSuccess: true, out: "" })
      expect(exported.err).toContain("\u001b[2K")
      expect(readdirSync(at("all")).sort()).toEqual([`${one}.ndjson`, `${two}.ndjson`].sort())
      const imported = await terminal("import", at("all"), "--all", "--on-conflict", "skip")
      expect(imported.err).toMatch(/\[█+\] \d+ of \d+ rows/)
      const plain = await dormouse("export", at("all"), "--all", ...names, "--resume")
      expect(plain.err).not.toContain("\u001b")
      expect(existsSync(at("all"))).toBe(true)
    })

    it("AD11, AD13: `seed` fills in what an insert does, and the second time does nothing", async () => {
      const tenant = fresh("seed")
      const row = { name: "ada", email: null, boss: null }
      writeFileSync(at("seed.ndjson"), `${lineOf("people", row)}\n\n${lineOf("posts", { text: "hello" })}\n`)
      const first = await dormouse("seed", at("seed.ndjson"), "-t", tenant)
      expect(first).toMatchObject({ isSuccess: true, err: expect.stringContaining("2 rows written") })
      const second = await dormouse("seed", at("seed.ndjson"), "-t", tenant)
      expect(second).toMatchObject({ isSuccess: true, err: expect.stringContaining("nothing to do") })
      const counted = await dormouse(
        "sql",
        "SELECT count(*) AS n, max(role) AS role FROM people",
        "--json",
        "-t",
        tenant
      )
      expect(counted.out).toBe('{"n":1,"role":"member"}\n')
      writeFileSync(at("wrong.ndjson"), `${lineOf("people", row)}\n{"table":"people","row":{"name":""}}\n`)
      const wrong = await dormouse("seed", at("wrong.ndjson"), "-t", tenant)
      expect(wrong).toMatchObject({ isSuccess: false, err: expect.stringContaining("line 2: ") })
    })
  })
