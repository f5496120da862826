import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as Checksum from "../../src/protocol/Checksum.ts"
import * as Patch from "../../src/protocol/Patch.ts"
import { type Deployment, newTenant, post } from "../deployment/Deployment.ts"
import { type Bindings, fill, type Message, mismatch, overHttp, overSockets } from "./fixtures.ts"

/** The server's side of the fixtures: it sends exactly the JSON that they contain. */
export const suite = (name: string, here: () => Promise<Deployment & { readonly close?: () => Promise<void> }>) =>
  describe(name, () => {
    let deployment: Awaited<ReturnType<typeof here>>
    beforeAll(async () => {
      deployment = await here()
    })
    afterAll(() => deployment.close?.())

    for (const { name, steps } of overHttp) {
      it(`S1 R2 ${name}: the server answers as written`, async () => {
        const tenant = newTenant(name)
        const bindings: Bindings = new Map()
        for (const { request, response } of steps) {
          const body = request.text ?? JSON.stringify(request.body)
          const answer =
            request.method === undefined && request.path === undefined
              ? await post(deployment, tenant, body)
              : await deployment.fetch(request.path ?? "/rpc", {
                  method: request.method ?? "POST",
                  ...(request.method === "GET" ? {} : { body })
                })
          const actual = (await answer.json()) as unknown
          expect(answer.status, JSON.stringify(actual)).toBe(response.status)
          for (const [header, value] of Object.entries(response.headers ?? {})) {
            expect(answer.headers.get(header)).toBe(value)
          }
          const inOrder = response.unordered === true ? sorted : <A>(messages: A) => messages
          expect(mismatch(inOrder(response.body), inOrder(actual), bindings)).toBeUndefined()
        }
      })
    }

    /** Waits until the object has nothing more to do, over a socket of its own: that of the fixture gets no other messages. */
    const settled = async (tenant: string) => {
      const other = await deployment.connect(tenant)
      await other.settled()
    }

    for (const { name, steps } of overSockets) {
      it(`S1 R2 ${name}: the server answers as written`, async () => {
        const tenant = newTenant(name)
        const bindings: Bindings = new Map()
        let peer = await deployment.connect(tenant)
        let taken = 0
        let sums = checkSums()
        for (const step of steps) {
          if ("client" in step) peer.send(...fill(step.client, bindings))
          else if ("batch" in step) peer.send(fill(step.batch, bindings))
          else if ("sleep" in step) {
            await settled(tenant)
            await deployment.evict(tenant)
          } else if ("reconnect" in step) {
            peer.close(1000)
            peer = await deployment.connect(tenant)
            sums = checkSums(sums)
            taken = 0
          } else {
            const { server, together } = step
            await peer.until(() => peer.messages.length >= taken + server.length)
            const actual = peer.messages.slice(taken, taken + server.length)
            expect(mismatch(server, actual, bindings), JSON.stringify(actual)).toBeUndefined()
            sums.take(actual)
            if (together === true) expect(JSON.parse(peer.texts.at(-1)!)).toHaveLength(server.length)
            taken += server.length
          }
        }
        await settled(tenant)
        expect(peer.messages.slice(taken)).toEqual([])
      })
    }

    it("a fixture with other content fails (the control)", () => {
      const [{ steps }] = overHttp as unknown as readonly [{ readonly steps: any }]
      const { body } = steps[0].response
      const actual = fill(body, new Map())
      expect(mismatch(body, actual, new Map())).toBeUndefined()
      expect(mismatch(body, [{ ...actual[0], more: 1 }], new Map())).toContain("/0/more")
      expect(mismatch(["<version:2>", "<version:1>"], [1, 2], new Map())).toContain("below")
      expect(mismatch(["<id:1>", "<id:1>"], [fill("<id:1>", new Map()), "other"], new Map())).toContain(
        "something else"
      )
    })
  })

interface Sums {
  readonly values: Map<unknown, { readonly value: Schema.Json; readonly hash: string }>
  readonly take: (messages: ReadonlyArray<any>) => void
}

/** Checks that the checksum of each frame is that of what its client then has. */
const checkSums = ({ values }: Pick<Sums, "values"> = { values: new Map() }): Sums => ({
  values,
  take(messages) {
    for (const { _tag, requestId, values: frames } of messages) {
      if (_tag !== "Chunk") continue
      for (const { _tag, hash, ops, sum, value, version } of frames) {
        if (version === undefined) continue
        const before = values.get(requestId)
        const next =
          _tag === "Snapshot"
            ? { value, hash }
            : _tag === "Patch"
              ? { value: Result.getOrThrow(Patch.apply(before!.value, ops)), hash }
              : before!
        values.set(requestId, next)
        const own = Checksum.ofFrame(Checksum.ofJson(next.value), version, next.hash)
        expect(Checksum.addRequest(own, JSON.stringify(requestId))).toBe(sum)
      }
    }
  }
})

const sorted = (messages: unknown): ReadonlyArray<Message> =>
  (messages as ReadonlyArray<Message>).toSorted(
    (a, b) => a.requestId.localeCompare(b.requestId) || a._tag.localeCompare(b._tag)
  )
