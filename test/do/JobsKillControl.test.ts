import { expect, it } from "vitest"
import { WorkerdProcess } from "../deployment/workerd.ts"
import { Violation } from "../random.ts"
import { entryOf, killOften } from "./jobsKill.ts"

it("the kills of jobs find actions that run again, because nothing was written before they began", async () => {
  await expect(killOften(6, () => WorkerdProcess.start(entryOf("unclaimed")))).rejects.toThrow(Violation)
})
