import { it } from "vitest"
import { WorkerdProcess } from "../deployment/workerd.ts"
import { isLong } from "../random.ts"
import { entryOf, killOften } from "./jobsKill.ts"

const kills = isLong ? 6 : 3

// The queue is lost with the process, and what it held is sent again after a minute.
it(`Q10, Q11: ${kills} kills lose no message that a Cloudflare Queue carries`, () =>
  killOften(kills, () => WorkerdProcess.start(entryOf("carried"), {}, { WORKS: "works" })))
