import { memory } from "../deployment/memory.ts"
import { app } from "../worker/notes.ts"
import { suite } from "./badInputCases.ts"

suite("Bad input in memory", () => memory(app, { tenants: (name) => name !== "nobody" }), {
  runs: 400,
  refusedTenant: "nobody"
})
