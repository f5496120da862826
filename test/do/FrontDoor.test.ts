/// <reference types="node" />
import { afterEach, describe, expect, it, vi } from "vitest"
import { SocketHub } from "../../src/engine/object/SocketHub.ts"
import { type RequestSession, readSession } from "../../src/engine/rpc/SessionHeader.ts"
import { type Issuer, keeper, lenient, listed, unsigned } from "../frontDoor/callers.ts"
import { round, Tally } from "../frontDoor/Fuzzer.ts"
import { memoryDoor, type Weakness } from "../frontDoor/memoryDoor.ts"
import { makeSigned } from "../frontDoor/signed.ts"
import { forAllAsync, type Random, runMore, Violation } from "../random.ts"
import { cases } from "./frontDoorCases.ts"

/** Random requests and frames against the gateway and its objects in memory, and gateways that let too much through. */

/** Runs rounds against one door, and more while an answer is missing. Rejects with a `Violation` if a check fails. */
const fuzz = async (
  runs: number,
  issuer: Issuer,
  weakness?: Weakness,
  answers: ReadonlyArray<string> = []
): Promise<Tally> => {
  const tally = new Tally()
  const door = await memoryDoor(issuer, weakness)
  const run = (random: Random) => round(door, random, 500, tally)
  try {
    await forAllAsync(runs, run)
    await runMore([runs, 10 * runs], () => answers.some((answer) => !tally.outcomes.has(answer)), run)
  } finally {
    await door.close()
  }
  return tally
}

cases("The front door in memory", () => memoryDoor(listed))

describe("S1, S2, S3, A1, A4: whatever is sent to the front door", () => {
  it("S1: nobody gets in or sees what is not theirs, and every object goes on", async () => {
    // Each way to be answered was taken, so that its checks have run.
    const statuses = ["200", "400", "401", "404", "405", "413", "426", "431", "500"]
    const closes = ["open", "1007", "1008", "1011", "4401", "4404"]
    const answers = [...statuses, ...closes, "rows"]
    const { outcomes, sent } = await fuzz(15, listed, undefined, answers)
    expect(sent).toBeGreaterThan(6500)
    expect([...outcomes.keys()]).toEqual(expect.arrayContaining(answers))
  })

  it("A1, A2, A5: the same with signed tokens, and those that are nearly right", async () => {
    expect((await fuzz(6, await makeSigned())).sent).toBeGreaterThan(2400)
  })

  it("A1: the same with tokens of Auth.layerTest", async () => {
    expect((await fuzz(6, unsigned)).sent).toBeGreaterThan(2400)
  })
})

const remembered = new Map<string, RequestSession>()

const weaknesses: ReadonlyArray<readonly [name: string, weakness: Weakness, issuer?: Issuer]> = [
  ["trusts the session that a client names", { request: (request) => ({ trustedSession: readSession(request) }) }],
  ["lets everybody enter", { options: { enter: () => true } }],
  ["lets everybody enter tenants that do not exist", { options: { tenants: () => true, enter: () => true } }],
  ["knows a caller without a token for one whose token it refuses", {}, lenient],
  ["wakes an object for each request", { wakes: true }],
  ["reaches the object of another tenant", { stub: (stub, tenant, of) => (tenant === "door-a" ? of("door-b") : stub) }],
  [
    "has objects that remember one caller of each tenant",
    {
      stub: (stub, tenant) => ({
        ...stub,
        call: (session, ...rest) => {
          const first = remembered.get(tenant) ?? session
          remembered.set(tenant, first)
          return stub.call(first, ...rest)
        }
      })
    }
  ],
  [
    "has objects that show causes",
    {
      stub: (stub) => ({
        ...stub,
        call: async (...call) => {
          const { body, status } = await stub.call(...call)
          return { status, body: body.replace(/the server could not answer/g, "SELECT password FROM vault") }
        }
      })
    }
  ],
  [
    "has objects that forget the numbers of mutations",
    {
      stub: (stub) => ({
        ...stub,
        call: (session, text, isRewritten) =>
          stub.call(session, text.replaceAll("dormouse-mutation", "none"), isRewritten)
      })
    }
  ],
  [
    "loses what it says it has written",
    {
      stub: (stub) => ({
        ...stub,
        call: async (session, ...rest) => {
          const answer = await stub.call(session, ...rest)
          return session.identity.subject === keeper.subject
            ? answer
            : { ...answer, body: answer.body.replace(/"id":"\w\w/, '"id":"xx') }
        }
      })
    }
  ],
  [
    "runs calls of a body that it refuses",
    {
      stub: (stub) => ({
        ...stub,
        call: async (session, ...rest) => {
          const answer = await stub.call(session, ...rest)
          if (session.identity.subject === keeper.subject) return answer
          return { status: 413, body: '{"error":"limit requestBytes is 1"}' }
        }
      })
    }
  ]
]

describe("S1: the fuzzer finds a front door that", () => {
  afterEach(() => vi.restoreAllMocks())

  for (const [name, weakness, issuer = listed] of weaknesses) {
    it(`S1: ${name}`, () => expect(fuzz(50, issuer, weakness)).rejects.toThrow(Violation))
  }

  it("S1: keeps sockets open after frames that are not messages", async () => {
    vi.spyOn(SocketHub.prototype as any, "drop").mockImplementation(() => {})
    await expect(fuzz(50, listed)).rejects.toThrow(Violation)
  })

  it("S1: keeps the live queries of sockets that have closed", async () => {
    vi.spyOn(SocketHub.prototype, "closed").mockImplementation(() => {})
    await expect(fuzz(50, listed)).rejects.toThrow(Violation)
  })
})
