import { afterEach, describe, expect, it, vi } from "vitest"
import { TransactionOutbox } from "../../../src/services/outbox/TransactionOutbox.ts"
import { forAllAsync, runMore } from "../../random.ts"
import { history, type Tally } from "./histories.ts"

/** Random histories of an object whose messages a broker carries that refuses, loses, delays, reorders and repeats. */

const calm = { hasBroker: true, isCalm: true }
const rough = { hasBroker: true, isCalm: false }

afterEach(() => vi.restoreAllMocks())

describe("random histories with a broker", () => {
  it("Q10, Q11: as long as nobody crashes, each message is handled once, whatever the broker does", () =>
    forAllAsync(20, (random) => history(random, new Map(), calm)))

  it("Q10, Q11, Q4, O2, O3: after crashes of the object, of the consumer and of commits, each is handled, and ends", async () => {
    const tally: Tally = new Map()
    await forAllAsync(20, (random) => history(random, tally, rough))
    const rare = () => [...tally].filter(([, count]) => count < 5)
    await runMore(
      [20, 200],
      () => rare().length > 0,
      (random) => history(random, tally, rough)
    )
    console.info(tally)
    expect(rare()).toEqual([])
  })
})

describe("control: the histories detect", () => {
  /** Changes what is written of entries. */
  const changeWrites = (
    change: (sql: string, params: ReadonlyArray<unknown>) => ReadonlyArray<unknown> | undefined
  ) => {
    const outbox: any = TransactionOutbox.prototype
    const { write } = outbox
    vi.spyOn(outbox, "write").mockImplementation(function (this: any, sql: any, params: any) {
      const changed = change(sql, params)
      return changed === undefined ? [] : write.call(this, sql, changed)
    })
  }
  const finds = (what: RegExp) =>
    expect(forAllAsync(1000, (random) => history(random, new Map(), calm))).rejects.toThrow(what)

  it("Q11: a call whose begin leaves no mark", async () => {
    changeWrites((sql, params) => (sql.includes("attempts + 1, sends = 0") ? undefined : params))
    await finds(/"begins":[2-9]|waits for ever/)
  })

  it("Q11: a call that was lost and is not sent again", async () => {
    const never = Number.MAX_SAFE_INTEGER
    changeWrites((sql, params) => {
      const [call, , id] = params
      return sql.includes("SET state = 'sent'") ? [call, never, id] : params
    })
    await finds(/waits for ever/)
  })
})
