import { memory } from "../deployment/memory.ts"
import { ledgerApp } from "../worker/ledger.ts"
import { suite } from "./transactionalCases.ts"

suite("A transactional service in memory", async () => {
  const deployment = await memory(ledgerApp)
  return { deployment, close: deployment.close }
})
