import { it } from "vitest"
import { WorkerdProcess } from "../deployment/workerd.ts"
import { isLong } from "../random.ts"
import { entryOf, killOften } from "./jobsKill.ts"

const kills = isLong ? 20 : 7

it(`J1, J2, J3, J5, Q2, O2, O3: ${kills} kills lose no job, and run none more often than it may`, () =>
  killOften(kills, () => WorkerdProcess.start(entryOf("work"))))
