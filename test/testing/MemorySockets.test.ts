/// <reference types="node" />
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { expect, it } from "vitest"
import { type MemorySocket, MemorySockets } from "../../src/layers/memory/SocketHost.ts"

setFlagsFromString("--expose-gc")
const collect: () => void = runInNewContext("gc")

const socket = (): MemorySocket => ({ attachment: undefined, pingedAt: undefined, send: () => {}, close: () => {} })

/** How many handles of a thousand sockets are in memory when the sockets have closed. `keep` gets each handle. */
const left = async (keep: (handle: object) => void): Promise<number> => {
  const open = new Set<MemorySocket>()
  const sockets = new MemorySockets(
    () => open,
    (send) => send()
  )
  for (let i = 0; i < 1000; i++) open.add(socket())
  const handles = Array.from(sockets.service.sockets(), (handle) => {
    keep(handle)
    return new WeakRef<object>(handle)
  })
  open.clear()
  // What a WeakRef was made of stays until the end of the turn.
  await new Promise((resolve) => setImmediate(resolve))
  collect()
  expect(sockets.service.sockets()).toEqual([])
  return handles.filter((handle) => handle.deref() !== undefined).length
}

it("L8: the handle of a closed socket leaves memory, while the heap of its object stays", async () => {
  expect(await left(() => {})).toBeLessThan(10)
})

it("control: handles that somebody keeps are found", async () => {
  const kept: Array<object> = []
  expect(await left((handle) => kept.push(handle))).toBe(1000)
  expect(kept.length).toBe(1000)
})
