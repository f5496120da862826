import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { bodies, call, type Deployment, errorOf, newTenant, post, request } from "../deployment/Deployment.ts"
import { forAllAsync, type Random } from "../random.ts"

const injections = [
  "'; DROP TABLE notes; --",
  '"; DROP TABLE notes; --',
  "') OR 1=1; DELETE FROM notes; --",
  "x' UNION SELECT name FROM sqlite_master --",
  "%' ESCAPE '%",
  "\\'; DROP TABLE notes; --",
  "notes; PRAGMA writable_schema = ON"
]

/** S1: input from clients. `runs` is the number of randomly damaged messages; the app refuses `refusedTenant`. */
export const suite = (
  name: string,
  here: () => Promise<Deployment & { readonly close?: () => Promise<void> }>,
  options: { readonly runs: number; readonly refusedTenant: string }
) =>
  describe(name, () => {
    let deployment: Awaited<ReturnType<typeof here>>
    beforeAll(async () => {
      deployment = await here()
    })
    afterAll(() => deployment.close?.())

    /** Checks that a body is refused with this status, before an object starts. */
    const isRefused = async (body: BodyInit, status: number, tenant = newTenant("refused")) => {
      const response = await post(deployment, tenant, body)
      expect([response.status, deployment.starts(tenant)]).toEqual([status, 0])
      const { error } = (await response.json()) as { readonly error: string }
      expect(typeof error).toBe("string")
      return error
    }
    /** Checks that a message closes its socket, and that the object continues. */
    const isClosed = async (message: string | Uint8Array<ArrayBuffer>, code: number) => {
      const tenant = newTenant("closed")
      const [peer, other] = [await deployment.connect(tenant), await deployment.connect(tenant)]
      peer.sendText(message)
      const closed = await peer.until(() => peer.closed)
      expect(closed).toMatchObject({ code })
      expect(await other.call("notes.list", {})).toEqual({ _tag: "Success", value: [] })
      expect(deployment.starts(tenant)).toBe(1)
      return closed
    }

    /** Checks that each request of a text is answered with this limit, over HTTP before an object starts. */
    const isLimited = async (text: string, ids: ReadonlyArray<number | string>, limit: object) => {
      const tenant = newTenant("limited")
      const response = await post(deployment, tenant, text)
      expect([response.status, deployment.starts(tenant)]).toEqual([413, 0])
      const answers: any = await response.json()
      expect(answers.map(({ requestId }: any) => requestId)).toEqual(ids)
      for (const { exit } of answers) expect(errorOf(exit)).toEqual({ _tag: "CallError", reason: limit })
      const peer = await deployment.connect(tenant)
      peer.sendText(text)
      for (const exit of await Promise.all(ids.map((id) => peer.exit(id)))) {
        expect(errorOf(exit)).toEqual({ _tag: "CallError", reason: limit })
      }
      // The socket stays open, and nothing ran.
      expect(await peer.call("notes.list", {})).toEqual({ _tag: "Success", value: [] })
      peer.close(1000)
    }

    describe("S1: invalid messages", () => {
      const malformed = ["", "{", "null", "1", '"text"', "{}", "[1]", "[[]]", "[null]", '{"_tag":"Nothing"}', "<xml/>"]
      for (const text of malformed) {
        it(`S1: ${JSON.stringify(text)} is refused, and starts no object`, async () => {
          await isRefused(text, 400)
          await isClosed(text, 1007)
        })
      }

      const good = request("1", "notes.add", { body: "never" })
      const fields: ReadonlyArray<readonly [string, unknown]> = [
        ...[null, true, {}, [], "x".repeat(129)].map((value) => ["id", value] as const),
        ...[null, 1, {}, ["notes.add"]].map((value) => ["tag", value] as const),
        ...[null, {}, "x", [["a"]], [["a", 1]], [["a", "b", "c"]], [null]].map((value) => ["headers", value] as const),
        ...["yes", false, 1].map((value) => ["isNotification", value] as const),
        ...["yes", false, 1].map((value) => ["discard", value] as const),
        ["traceId", 5],
        ["spanId", {}],
        ["sampled", "yes"],
        ["_tag", 5]
      ]
      for (const [field, value] of fields) {
        const shown = JSON.stringify(value).slice(0, 20)
        it(`S1: a request whose ${field} is ${shown} is refused with its whole batch`, async () => {
          const text = JSON.stringify([good, { ...good, id: "2", [field]: value }])
          await isRefused(text, 400)
          await isClosed(text, 1007)
        })
      }
      for (const field of ["id", "tag", "payload", "headers", "_tag"]) {
        it(`S1: a request without ${field} is refused`, async () => {
          const { [field]: _, ...less } = good as Record<string, unknown>
          await isRefused(JSON.stringify(less), 400)
          await isClosed(JSON.stringify(less), 1007)
        })
      }
      for (const message of [
        { _tag: "Ack" },
        { _tag: "Ack", requestId: null },
        { _tag: "Interrupt", requestId: {} },
        { _tag: "Chunk", requestId: "1", values: [1] },
        { _tag: "Exit", requestId: "1", exit: { _tag: "Success", value: 1 } }
      ]) {
        it(`S1: ${JSON.stringify(message)} is refused`, () => isClosed(JSON.stringify(message), 1007))
      }

      it.each([
        ["newline-delimited JSON", `${JSON.stringify(good)}\n`],
        ["JSON-RPC", '{"jsonrpc":"2.0","method":"notes.list","params":{},"id":1}']
      ])("L10: a socket of a client that speaks %s is closed with the serialization to use", async (_, text) => {
        expect(await isClosed(text, 1007)).toMatchObject({
          reason: expect.stringContaining("RpcSerialization.layerJson")
        })
      })

      it("S1: a number outside of the range of numbers is refused as an id", async () => {
        await isRefused('{"_tag":"Request","id":1e999,"tag":"notes.list","payload":{},"headers":[]}', 400)
      })

      it("S1: two requests of one body cannot have the same id", async () => {
        expect(await isRefused(JSON.stringify([good, good]), 400)).toContain("the same id")
        expect(
          await isRefused(
            JSON.stringify([
              { ...good, id: 7 },
              { ...good, id: "7" }
            ]),
            400
          )
        ).toContain("the same id")
      })

      it("S1: bytes that are not UTF-8 are refused, and UTF-8 bytes are text", async () => {
        const text = JSON.stringify(good)
        const bytes = new Uint8Array(new TextEncoder().encode(text))
        const broken = Uint8Array.from(bytes, (byte, i) => (i === text.indexOf("never") ? 0xff : byte))
        await isRefused(broken, 400)
        await isClosed(broken, 1007)
        await isClosed(new Uint8Array([0x80, 0x81]), 1007)
        // The control: the same bytes, undamaged, are accepted.
        const peer = await deployment.connect(newTenant("bytes"))
        peer.sendText(bytes)
        expect(await peer.exit("1")).toMatchObject({ _tag: "Success" })
      })

      it("S1: messages after a client's Eof are still handled", async () => {
        const peer = await deployment.connect(newTenant("eof"))
        peer.send({ _tag: "Eof" })
        expect(await peer.call("echo", { value: 1 })).toEqual({ _tag: "Success", value: 1 })
      })
    })

    describe("S1: unknown rpcs", () => {
      for (const tag of [
        "no.such.rpc",
        "",
        "__proto__",
        "constructor",
        "live:",
        "live:no.such.rpc",
        "live:notes.add",
        ...injections
      ]) {
        it(`S1: ${JSON.stringify(tag)} is refused before an object starts`, async () => {
          const tenant = newTenant("unknown")
          const response = await post(deployment, tenant, JSON.stringify(request("1", tag, {})))
          expect([response.status, deployment.starts(tenant)]).toEqual([404, 0])
          const [{ exit }] = (await response.json()) as any
          expect(errorOf(exit)).toMatchObject({ _tag: "CallError", reason: { _tag: "UnknownRpc", tag } })
          const peer = await deployment.connect(tenant)
          expect(errorOf(await peer.call(tag, {}))).toMatchObject({ reason: { _tag: "UnknownRpc", tag } })
          // The control: a known rpc starts the object.
          await call(deployment, newTenant("known"), "notes.list", {})
          expect(deployment.starts(tenant)).toBe(1)
        })
      }

      it("S1: a request without an answer runs, and gets no answer", async () => {
        const tenant = newTenant("silent")
        const silent = (tag: string, payload: unknown) => ({ ...request("", tag, payload), isNotification: true })
        const batch = [
          silent("notes.add", { body: "by a mutation" }),
          silent("no.such.rpc", {}),
          silent("notes.add", { body: 1 }),
          silent("notes.list", {}),
          silent("live:notes.list", {}),
          silent("act.add", { body: "by an action" })
        ]
        const response = await post(deployment, tenant, JSON.stringify(batch))
        expect([response.status, await response.json()]).toEqual([200, []])
        const peer = await deployment.connect(tenant)
        peer.send(batch)
        await peer.call("notes.add", { body: "last" })
        const expected = ["by a mutation", "by a mutation", "by an action", "by an action", "last"].toSorted()
        await expect.poll(async () => (await bodies(deployment, tenant)).toSorted()).toEqual(expected)
        const asked = peer.messages.length
        await peer.settled()
        // Only what was asked with an id was answered, then and later.
        expect(asked).toBe(1)
        expect(peer.messages.filter((message) => "requestId" in message && message.requestId === "")).toEqual([])
      })

      it("S1: each request of a batch is answered independently", async () => {
        const tenant = newTenant("batch")
        const response = await post(
          deployment,
          tenant,
          JSON.stringify([
            request("unknown", "no.such.rpc", {}),
            request("mutation", "notes.add", { body: "one" }),
            request("invalid", "notes.add", { body: 1 }),
            request("action", "act.end", { ending: "typed failure" }),
            request("live", "live:notes.list", {})
          ])
        )
        expect(response.status).toBe(200)
        const messages = (await response.json()) as ReadonlyArray<any>
        const exits = messages.flatMap(({ _tag, exit, requestId }) =>
          _tag === "Exit" ? [[requestId, errorOf(exit)?.reason?._tag ?? errorOf(exit)?._tag ?? exit._tag]] : []
        )
        expect(Object.fromEntries(exits)).toEqual({
          unknown: "UnknownRpc",
          mutation: "Success",
          invalid: "PayloadInvalid",
          action: "Refused",
          live: "Success"
        })
        expect(await bodies(deployment, tenant)).toEqual(["one"])
      })

      it("T5: a body within requestBytes is not refused because its text became longer on the way", async () => {
        const tenant = newTenant("longer")
        // Written again, each of these numbers has 21 digits.
        const numbers = `[${"1e20,".repeat(300_000)}0]`
        const text = (id: string, tag: string, payload: string) =>
          `{"_tag":"Request","id":"${id}","tag":"${tag}","payload":${payload},"headers":[]}`
        const action = text("action", "act.end", `{"ending":"promise","ignored":${numbers}}`)
        const response = await post(deployment, tenant, `[${text("echo", "echo", `{"value":${numbers}}`)},${action}]`)
        expect(response.status).toBe(200)
        const messages = (await response.json()) as ReadonlyArray<any>
        const exits = Object.fromEntries(messages.map(({ exit, requestId }) => [requestId, exit]))
        expect(exits.action).toEqual({ _tag: "Success", value: 1 })
        expect([exits.echo._tag, exits.echo.value?.length]).toEqual(["Success", 300_001])
        const peer = await deployment.connect(tenant)
        peer.sendText(action)
        expect(await peer.exit("action")).toEqual({ _tag: "Success", value: 1 })
      })
    })

    describe("S1: payloads", () => {
      const invalid: ReadonlyArray<readonly [string, string]> = [
        ["notes.add", "null"],
        ["notes.add", "[]"],
        ["notes.add", "{}"],
        ["notes.add", '{"body":""}'],
        ["notes.add", '{"body":1}'],
        ["notes.add", '{"body":null}'],
        ["notes.add", '{"body":["x"]}'],
        ["notes.addMany", '{"count":1e999,"body":"x"}'],
        ["notes.addMany", '{"count":1e21,"body":"x"}'],
        ["notes.addMany", '{"count":1.5,"body":"x"}'],
        ["notes.addMany", '{"count":"1","body":"x"}'],
        ["notes.addMany", '{"count":9007199254740993,"body":"x"}'],
        ["notes.addAndEnd", '{"ending":"no such ending"}'],
        ["notes.named", '{"body":{"$ne":null}}'],
        ["act.add", '{"body":""}']
      ]
      for (const [tag, payload] of invalid) {
        it(`S1: ${tag} with ${payload} gets a typed error, and nothing is written`, async () => {
          const tenant = newTenant("payload")
          const text = (id: string, tag: string) =>
            `{"_tag":"Request","id":"${id}","tag":"${tag}","payload":${payload},"headers":[]}`
          const [{ exit }] = (await (await post(deployment, tenant, text("1", tag))).json()) as any
          const peer = await deployment.connect(tenant)
          peer.sendText(text("1", tag))
          for (const answer of [exit, await peer.exit("1")]) {
            expect(errorOf(answer)).toMatchObject({ _tag: "CallError", reason: { _tag: "PayloadInvalid" } })
            expect(errorOf(answer).reason.issue).not.toMatch(/ at .*:\d+:\d+/)
          }
          if (tag === "notes.named") {
            peer.sendText(text("2", `live:${tag}`))
            expect(errorOf(await peer.exit("2"))).toMatchObject({ reason: { _tag: "PayloadInvalid" } })
          }
          expect(await bodies(deployment, tenant)).toEqual([])
        })
      }

      it("S1: three megabytes of text exceed the limit on rows, and are accepted without rows", async () => {
        const tenant = newTenant("large")
        const body = "x".repeat(3_000_000)
        expect(errorOf(await call(deployment, tenant, "notes.add", { body })).reason).toMatchObject({
          limit: "rowBytes"
        })
        expect(errorOf(await call(deployment, tenant, "notes.named", { body })).reason).toMatchObject({
          limit: "rowBytes"
        })
        expect((await call(deployment, tenant, "echo", { value: body })).value === body).toBe(true)
        expect(await bodies(deployment, tenant)).toEqual([])
      })

      it("S1: __proto__ is treated like any other key", async () => {
        const tenant = newTenant("proto")
        const value =
          '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"a":[{"__proto__":1}]}'
        const text = (id: string, tag: string, payload: string) =>
          `{"__proto__":{"tag":"notes.add"},"_tag":"Request","id":"${id}","tag":"${tag}","payload":${payload},"headers":[["__proto__","x"]]}`
        const peer = await deployment.connect(tenant)
        peer.sendText(text("echo", "echo", `{"value":${value}}`))
        peer.sendText(text("live", "live:echo", `{"value":${value}}`))
        peer.sendText(text("keys", "keys", `{"record":${value}}`))
        expect(JSON.stringify((await peer.exit("echo")) as any)).toContain(value)
        // A live query gets its payload in the one form that equal payloads have, with properties in the order of names.
        expect(JSON.stringify(await peer.itemsOf("live", 1))).toContain(
          '{"__proto__":{"polluted":true},"a":[{"__proto__":1}],"constructor":{"prototype":{"polluted":true}}}'
        )
        expect((await peer.exit("keys")) as any).toEqual({ _tag: "Success", value: ["__proto__", "constructor", "a"] })
        expect(({} as any).polluted).toBeUndefined()
        expect(await bodies(deployment, tenant)).toEqual([])
      })

      it("S1: half a surrogate pair is not written", async () => {
        const tenant = newTenant("surrogate")
        const text = '{"_tag":"Request","id":"1","tag":"notes.add","payload":{"body":"\\ud800"},"headers":[]}'
        const [{ exit }] = (await (await post(deployment, tenant, text)).json()) as any
        expect(exit._tag).toBe("Failure")
        expect(await bodies(deployment, tenant)).toEqual([])
      })
    })

    describe("S1: cursors", () => {
      const page = async (tenant: string, payload: unknown, tag = "notes.page") =>
        (await call(deployment, tenant, tag, payload)) as any

      it("S1: a cursor of another order, or malformed text, gets a typed error", async () => {
        const tenant = newTenant("cursor")
        await call(deployment, tenant, "notes.addMany", { count: 3, body: "x" })
        const first = await page(tenant, { size: 2 })
        expect(first.value.items).toHaveLength(2)
        // The control: a cursor of this order works.
        expect((await page(tenant, { size: 2, after: first.value.next })).value).toMatchObject({
          items: [{}],
          next: null
        })
        const { next: ofAnotherIndex } = (await page(tenant, { size: 2 }, "notes.pageByBody")).value
        const damaged = `${first.value.next.slice(0, -2)}AA`
        const cut = first.value.next.slice(0, -3)
        const twice = first.value.next.repeat(2)
        for (const after of [
          ofAnotherIndex,
          cut,
          twice,
          "",
          "null",
          "__proto__",
          "x".repeat(100_000),
          "é",
          ...injections
        ]) {
          const exit = await page(tenant, { size: 2, after })
          expect(errorOf(exit), after.slice(0, 40)).toEqual({ _tag: "CursorRefused" })
        }
        // A changed cursor may still be a valid cursor, but never causes another error.
        const tampered = await page(tenant, { size: 2, after: damaged })
        expect(errorOf(tampered)?._tag ?? tampered._tag).toMatch(/^(CursorRefused|Success)$/)
        expect(await bodies(deployment, tenant)).toEqual(["x", "x", "x"])
      })

      it("S1: a page with a size below 1 has one row", async () => {
        const tenant = newTenant("cursor")
        await call(deployment, tenant, "notes.add", { body: "x" })
        for (const size of [0, -1, Number.MIN_SAFE_INTEGER]) {
          expect((await page(tenant, { size })).value.items).toHaveLength(1)
        }
      })
    })

    describe("S1: SQL in every string", () => {
      for (const text of injections) {
        it(`S1: ${text} is stored as text`, async () => {
          const tenant = newTenant("sql")
          await call(deployment, tenant, "notes.add", { body: "kept" })
          await call(deployment, tenant, "notes.add", { body: text })
          expect((await call(deployment, tenant, "notes.named", { body: text })).value).toMatchObject([{ body: text }])
          expect((await call(deployment, tenant, "notes.namedBySql", { body: text })).value).toEqual([text])
          const peer = await deployment.connect(tenant)
          peer.send(request(text, "live:notes.named", { body: text }, [[text, text]]))
          expect(await peer.itemsOf(text, 1)).toMatchObject([{ value: [{ body: text }] }])
          peer.send(request(`${text}1`, "notes.named", { body: text }, [["dormouse-mutation", text]]))
          expect(await peer.exit(`${text}1`)).toMatchObject({ _tag: "Success" })
          peer.send({ _tag: "Interrupt", requestId: text })
          await peer.exit(text)
          expect(await bodies(deployment, tenant)).toEqual(["kept", text])
        })
      }
    })

    describe("S1: tenants", () => {
      const hostile = [
        "",
        " ",
        "a b",
        "a/b",
        "../main",
        "main/../../x",
        "%2e%2e",
        "ünï",
        "🐁",
        "-x",
        ".x",
        "_x",
        "x".repeat(64),
        "x".repeat(10_000),
        "a\r\nx-dormouse-session: b",
        "a\u0000",
        "__proto__",
        ...injections
      ]
      for (const tenant of hostile) {
        it(`S1: ${JSON.stringify(tenant).slice(0, 40)} is not a valid tenant`, async () => {
          const path = `/rpc?tenant=${encodeURIComponent(tenant)}`
          const body = JSON.stringify(request("1", "notes.list", {}))
          const response = await deployment.fetch(path, { method: "POST", body })
          expect([response.status, await response.json()]).toEqual([404, { error: "no such tenant" }])
          const peer = await deployment.connect(tenant, "query")
          expect(await peer.until(() => peer.closed)).toEqual({ code: 4404, reason: "no such tenant" })
          // Names that a header can contain are refused there as well.
          if (/^[\x21-\x7e]+$/.test(tenant)) expect((await post(deployment, tenant, body)).status).toBe(404)
        })
      }

      it("S1: valid names are separate tenants, and without a name the tenant is `main`", async () => {
        const body = JSON.stringify(request("1", "notes.add", { body: "for main" }))
        await deployment.fetch("/rpc", { method: "POST", body })
        expect(await bodies(deployment, "main")).toContain("for main")
        for (const tenant of ["a", "A", "0", "a.b", "a_b", "a-b", "x".repeat(63)]) {
          expect(await bodies(deployment, tenant)).toEqual([])
          expect(deployment.starts(tenant)).toBe(1)
        }
      })

      it("S1: a tenant that the app refuses has no object", async () => {
        const body = JSON.stringify(request("1", "notes.list", {}))
        expect((await post(deployment, options.refusedTenant, body)).status).toBe(404)
        expect((await deployment.fetch(`/rpc?tenant=${options.refusedTenant}`, { method: "POST", body })).status).toBe(
          404
        )
        expect(deployment.starts(options.refusedTenant)).toBe(0)
      })

      it("S1, C3: a socket of a tenant that does not exist is closed with 4404, and wakes no object", async () => {
        const { refusedTenant } = options
        const peer = await deployment.connect(refusedTenant)
        // What the client sends before it sees the close reaches nothing.
        peer.ask("notes.list", {})
        expect(await peer.until(() => peer.closed)).toEqual({ code: 4404, reason: "no such tenant" })
        expect([peer.messages, deployment.starts(refusedTenant)]).toEqual([[], 0])
        // The control: a socket of a tenant that exists stays open and wakes its object.
        const known = newTenant("known")
        const other = await deployment.connect(known)
        expect(await other.call("notes.list", {})).toEqual({ _tag: "Success", value: [] })
        expect([other.closed, deployment.starts(known)]).toEqual([undefined, 1])
      })

      it("S1: the header takes precedence over the query", async () => {
        const [inHeader, inQuery] = [newTenant("header"), newTenant("query")]
        await deployment.fetch(`/rpc?tenant=${inQuery}`, {
          method: "POST",
          headers: { "x-dormouse-tenant": inHeader },
          body: JSON.stringify(request("1", "notes.list", {}))
        })
        expect([deployment.starts(inHeader), deployment.starts(inQuery)]).toEqual([1, 0])
      })
    })

    describe("S1, S3: requests", () => {
      it("S3: a client cannot set its identity with the object's own header", async () => {
        const [tenant, other] = [newTenant("forged"), newTenant("forged")]
        const forged = { tenant: other, identity: { subject: "root", claims: { admin: true } } }
        for (const session of [JSON.stringify(forged), encodeURIComponent(JSON.stringify(forged)), "%", "null"]) {
          const response = await post(deployment, tenant, JSON.stringify(request("1", "whoami", {})), {
            "x-dormouse-session": session
          })
          const [{ exit }] = (await response.json()) as any
          expect(exit).toEqual({ _tag: "Success", value: { subject: null, claims: {} } })
        }
        const action = await post(deployment, tenant, JSON.stringify(request("1", "act.add", { body: "mine" })), {
          "x-dormouse-session": encodeURIComponent(JSON.stringify(forged))
        })
        expect(action.status).toBe(200)
        expect(await bodies(deployment, tenant)).toEqual(["mine"])
        expect(deployment.starts(other)).toBe(0)
      })

      it("S1: clients cannot use the form in which objects request actions", async () => {
        const response = await post(
          deployment,
          newTenant("lines"),
          JSON.stringify([request("1", "look", {}), request("2", "act.end", { ending: "typed failure" })]),
          { accept: "application/x-ndjson" }
        )
        expect(response.headers.get("content-type")).toContain("application/json")
        expect(await response.json()).toHaveLength(2)
      })

      it("S1: GET without an upgrade gets 426", async () => {
        const response = await deployment.fetch("/rpc")
        expect([response.status, response.headers.get("upgrade")]).toEqual([426, "websocket"])
        expect((await deployment.fetch("/rpc", { headers: { upgrade: "h2c" } })).status).toBe(426)
      })

      for (const method of ["PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]) {
        it(`S1: ${method} is not allowed`, async () => {
          const response = await deployment.fetch("/rpc", { method })
          expect([response.status, response.headers.get("allow")]).toEqual([405, "GET, POST"])
        })
      }

      for (const path of ["/", "/rpcs", "/rpc/x", "/RPC", "/x/rpc", "/%72pc/x"]) {
        it(`S1: ${path} is not found`, async () => {
          expect((await deployment.fetch(path, { method: "POST", body: "{}" })).status).toBe(404)
        })
      }

      it("S1, T5: a batch of a thousand requests is refused as a whole", async () => {
        const batch = Array.from({ length: 1000 }, (_, i) => request(i, "notes.add", { body: "x" }))
        await isLimited(
          JSON.stringify(batch),
          batch.map(({ id }) => id),
          { _tag: "LimitExceeded", limit: "requestsPerBatch", max: 100, actual: 1000 }
        )
        // Acknowledgements that are not handled would hold back live queries.
        const acknowledgements = batch.map(({ id }) => ({ _tag: "Ack", requestId: id }))
        await isClosed(JSON.stringify([batch[0], ...acknowledgements]), 1008)
        const tenant = newTenant("hundred")
        await post(deployment, tenant, JSON.stringify(batch.slice(0, 100)))
        expect(await bodies(deployment, tenant)).toHaveLength(100)
      })

      it("S1, T5: a body over the limit is refused, with or without a content-length", async () => {
        const text = JSON.stringify(request("1", "notes.add", { body: "x".repeat(4 << 20) }))
        expect(await isRefused(text, 413)).toBe(`limit requestBytes is ${4 << 20}`)
        await isClosed(text, 1009)
        let sent = 0
        let isCancelled = false
        const chunk = new TextEncoder().encode("x".repeat(1 << 16))
        const endless = new ReadableStream<Uint8Array>({
          pull(controller) {
            sent += chunk.length
            controller.enqueue(chunk)
          },
          cancel() {
            isCancelled = true
          }
        })
        const tenant = newTenant("endless")
        const response = await deployment.fetch("/rpc", {
          method: "POST",
          headers: { "x-dormouse-tenant": tenant },
          body: endless,
          duplex: "half"
        } as RequestInit)
        expect([response.status, deployment.starts(tenant)]).toEqual([413, 0])
        await response.text()
        expect(isCancelled || sent < 8 << 20).toBe(true)
      })

      it("S1, T5: a body that is nested too deep is refused before anything recurses over it", async () => {
        const nested = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`
        const text = (value: string) =>
          `{"_tag":"Request","id":"1","tag":"echo","payload":{"value":${value}},"headers":[]}`
        const limit = { _tag: "LimitExceeded", limit: "requestDepth", max: 256 }
        const objects = `${'{"a":'.repeat(300)}1${"}".repeat(300)}`
        for (const value of [nested(255), nested(9000), objects]) await isLimited(text(value), ["1"], limit)
        // What is no message, and what is too deep to be read, is answered as a whole.
        for (const unread of ["[".repeat(1000), text(nested(1_000_000))]) {
          expect(await isRefused(unread, 413)).toBe("limit requestDepth is 256")
          await isClosed(unread, 1008)
        }
        // The control: one level less is accepted, and brackets in text do not count.
        const peer = await deployment.connect(newTenant("deep"))
        expect(await peer.call("echo", { value: JSON.parse(nested(254)) })).toMatchObject({ _tag: "Success" })
        expect(await peer.call("echo", { value: `\\"${"[{".repeat(2000)}` })).toMatchObject({ _tag: "Success" })
      })
    })

    it("S1: any damaged message is answered, and the object continues", async () => {
      const tenant = newTenant("fuzz")
      // An intact message and one that is none are answered differently, so that the status is not always the same.
      expect((await post(deployment, tenant, intact("echo", "1"))).status).toBe(200)
      expect((await post(deployment, tenant, intact("echo", "1").slice(1))).status).toBe(400)
      await forAllAsync(options.runs, async (random) => {
        const text = garble(random)
        const response = await post(deployment, tenant, text)
        expect([200, 400, 404, 413], text).toContain(response.status)
        const answer = (await response.json()) as any
        if (response.status === 200) for (const message of answer) expect(message._tag, text).toMatch(/^(Exit|Chunk)$/)
        else if (!Array.isArray(answer)) expect(typeof answer.error, text).toBe("string")
        expect(JSON.stringify(answer), text).not.toMatch(/ at .*:\d+:\d+/)
      })
      expect((await call(deployment, tenant, "echo", { value: "alive" })).value).toBe("alive")
      expect(deployment.starts(tenant)).toBe(1)
    })
  })

/** Two valid requests in one message. */
const intact = (tag: string, id: string): string =>
  JSON.stringify([
    request("a", tag, { body: "b", value: [1, { a: null }], record: { a: 1 } }),
    request(id, "notes.page", { size: 1, after: "eyJ9" }, [["a", "b"]])
  ])

/** A valid message, damaged at random. */
const garble = (random: Random): string => {
  const tag = random.pick(["notes.add", "notes.list", "live:notes.list", "keys", "echo"])
  const good = intact(tag, String(random.int(10)))
  const characters = '{}[]",:\\0-1e9.\u0000\u007f\u00ff\ud83d🐁'
  let text = good
  for (let edits = random.int(4); edits >= 0; edits--) {
    const at = random.int(text.length)
    switch (random.int(4)) {
      case 0:
        text = text.slice(0, at) + text.slice(at + 1 + random.int(5))
        break
      case 1:
        text = text.slice(0, at) + characters[random.int(characters.length)] + text.slice(at)
        break
      case 2:
        text = text.slice(0, at) + text.slice(random.int(text.length))
        break
      default:
        text = text.slice(0, at) + random.pick(["null", "true", "1e999", '"x"', "{}", "[]"]) + text.slice(at + 3)
    }
  }
  return text
}
