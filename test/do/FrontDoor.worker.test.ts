import { expect, it } from "vitest"
import { bo, listed, sealed } from "../frontDoor/callers.ts"
import type { Door } from "../frontDoor/Door.ts"
import { round, Tally } from "../frontDoor/Fuzzer.ts"
import { workerDoor } from "../frontDoor/workerDoor.ts"
import { forAllAsync, type Random, runMore, Violation } from "../random.ts"
import { cases } from "./frontDoorCases.ts"

/** Random requests and frames against a Worker and its Durable Objects. */

cases("The front door of a Worker", async () => workerDoor())

/** What a run must have seen. */
const answers = ["200", "400", "401", "404", "405", "500", "open", "1007", "4401", "4404", "rows"]

const fuzz = async (door: Door): Promise<Tally> => {
  const tally = new Tally()
  const run = async (random: Random) => {
    await round(door, random, 300, tally)
    await door.close()
  }
  await forAllAsync(5, run)
  await runMore([5, 30], () => answers.some((answer) => !tally.outcomes.has(answer)), run)
  return tally
}

it("S1, S2, S3, A1, A4: whatever is sent to a Worker, nobody gets in or sees what is not theirs, and every object goes on", async () => {
  const door = workerDoor()
  const { outcomes, sent } = await fuzz(door)
  expect(sent).toBeGreaterThan(1000)
  expect([...outcomes.keys()]).toEqual(expect.arrayContaining(answers))
  // The keeper reached it, so what reaches objects is counted.
  expect(door.reached(sealed)).toBeGreaterThan(0)
})

it("A1: the fuzzer finds a Worker that accepts a token which it must refuse", async () => {
  const refused = new Map([...listed.refused, [listed.tokenOf(bo), 401]])
  await expect(fuzz({ ...workerDoor(), issuer: { ...listed, refused } })).rejects.toThrow(Violation)
})
