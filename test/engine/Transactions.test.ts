import { memory } from "../place/memory.ts"
import { app, limited } from "../worker/notes.ts"
import { suite } from "./transactionCases.ts"

suite("Transactions in memory", async () => {
  const [place, small] = await Promise.all([memory(app), memory(limited)])
  return {
    place,
    limited: small,
    close: async () => {
      await Promise.all([place.close(), small.close()])
    }
  }
})
