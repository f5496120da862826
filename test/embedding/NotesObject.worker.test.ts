/// <reference types="@cloudflare/vitest-plugin/types" />
import { env, evictDurableObject } from "cloudflare:test"
import { expect, it } from "vitest"

const linesOf = async function* (body: ReadableStream<Uint8Array>) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ""
  for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
    const lines = (rest + chunk.value).split("\n")
    rest = lines.pop()!
    for (const line of lines) yield JSON.parse(line)
  }
}

it("examples/embed/object.ts: rows outlive the heap, and each commit reaches who reads the live body", async () => {
  const stub = () => env.NOTES.getByName("embedded")
  const first = await stub().add("one")
  expect(first).toMatch(/^[0-9a-f-]{36}$/)
  await evictDurableObject(stub())
  expect(await stub().list()).toEqual(["one"])

  const lines = linesOf((await stub().fetch("https://notes.test")).body!)
  expect((await lines.next()).value).toEqual(["one"])
  await stub().add("two")
  expect((await lines.next()).value).toEqual(["two", "one"])
  await lines.return(undefined)
})
