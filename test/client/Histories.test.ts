import { expect, it } from "vitest"
import { run, type Tally } from "./histories.ts"

it("C: histories", async () => {
  const tally: Tally = {}
  const n = Number(process.env.N ?? 50),
    s = Number(process.env.S ?? 1)
  const t0 = performance.now()
  let failed = 0
  for (let i = 0; i < n; i++) {
    try {
      await run(s + i, tally)
    } catch (e) {
      failed++
      if (failed <= Number(process.env.F ?? 1)) console.log(String((e as Error).message).slice(0, 3000))
    }
  }
  console.log(failed, "failed of", n, tally, (performance.now() - t0) / n, "ms each")
}, 600_000)
