/// <reference types="node" />
import { getEventListeners } from "node:events"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import { describe, expect, it } from "vitest"
import { anonymous } from "../../src/contract/Auth.ts"
import { ActionRelay } from "../../src/engine/object/ActionRelay.ts"
import type { Request } from "../../src/protocol/Messages.ts"

const request = (id: string, isNotification?: true): Request => ({
  _tag: "Request",
  id,
  tag: "act",
  payload: {},
  headers: [],
  ...(isNotification && { isNotification })
})

/** A relay of an endless action. */
const start = () => {
  const signals: Array<AbortSignal> = []
  const sent: Array<FromServerEncoded> = []
  let ended = 0
  const relay = new ActionRelay({
    host: {
      async *runAction({ id }, _session, signal) {
        signals.push(signal)
        try {
          for (let n = 0; ; n++) yield { _tag: "Chunk", requestId: id, values: [n] }
        } finally {
          ended++
        }
      }
    },
    session: { tenant: "main", identity: anonymous },
    send: (message) => sent.push(message),
    onChange: () => {}
  })
  return { relay, signals, sent, ended: () => ended }
}

describe("ActionRelay", () => {
  it("L8: a long stream leaves no listener behind for each chunk", async () => {
    const { ended, relay, sent, signals } = start()
    relay.start(request("stream"))
    for (let chunks = 1; chunks <= 50; chunks++) {
      await expect.poll(() => sent.length, { interval: 1 }).toBe(chunks)
      relay.acknowledge("stream")
    }
    expect(getEventListeners(signals[0]!, "abort").length).toBeLessThanOrEqual(1)
    relay.close()
    await expect.poll(ended).toBe(1)
  })

  it("L8: an action ends with its socket, whether it waits for an acknowledgement or was called as a notification", async () => {
    const { ended, relay, signals } = start()
    relay.start(request("stream"))
    relay.start(request("notified", true))
    await expect.poll(() => signals.length).toBe(2)
    relay.close()
    await expect.poll(ended).toBe(2)
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true])
  })
})
