/**
 * What the hand-written subjects of the transfer workload share: the calls, over whatever holds the accounts.
 * Runs in workerd and in Node.
 */
import { decode, Refused, type RpcRequest, refusal, success } from "../messages.ts"

/** The accounts in SQLite. */
export interface Bank {
  /** Runs a function as one transaction; what it throws rolls the transaction back. */
  readonly transaction: (run: () => void) => void
  /** Inserts accounts with the ids from `first` on. */
  readonly insert: (first: number, count: number, balance: number) => void
  readonly balance: (id: number) => number | undefined
  readonly setBalance: (id: number, balance: number) => void
  readonly total: () => number
}

export const createAccounts = `
  CREATE TABLE IF NOT EXISTS accounts(id INTEGER PRIMARY KEY NOT NULL, balance INTEGER NOT NULL)
`

/** Answers what a socket has received. */
export function receive(bank: Bank, text: string, send: (answer: string) => void): void {
  for (const message of decode(text)) if (message._tag === "Request") send(answer(bank, message))
}

function answer(bank: Bank, { id, payload, tag }: RpcRequest): string {
  try {
    switch (tag) {
      case "accounts.create":
        bank.transaction(() =>
          bank.insert(integerOf(payload, "first"), integerOf(payload, "count"), integerOf(payload, "balance"))
        )
        return success(id, "null")
      case "accounts.transfer":
        transfer(bank, integerOf(payload, "from"), integerOf(payload, "to"), integerOf(payload, "amount"))
        return success(id, "null")
      case "accounts.total":
        return success(id, String(bank.total()))
      default:
        throw new Refused({ _tag: "BadRequest", message: `There is no ${tag}` })
    }
  } catch (thrown) {
    return refusal(id, thrown)
  }
}

function transfer(bank: Bank, from: number, to: number, amount: number): void {
  if (from === to) throw new Refused({ _tag: "SameAccount" })
  if (amount < 1) throw new Refused({ _tag: "BadRequest", message: "amount must be positive" })
  bank.transaction(() => {
    const source = bank.balance(from)
    const target = bank.balance(to)
    if (source === undefined || target === undefined) throw new Refused({ _tag: "AccountNotFound" })
    if (source < amount) throw new Refused({ _tag: "BalanceTooSmall" })
    bank.setBalance(from, source - amount)
    bank.setBalance(to, target + amount)
  })
}

function integerOf(payload: Record<string, unknown>, field: string): number {
  const value = payload[field]
  if (typeof value !== "number" || !Number.isSafeInteger(value)) {
    throw new Refused({ _tag: "BadRequest", message: `${field} must be a whole number` })
  }
  return value
}

/** Inserts `?2` accounts with the ids from `?1` on and the balance `?3`. */
export const insertAccounts = `
  WITH RECURSIVE ids(id) AS (SELECT ?1 UNION ALL SELECT id + 1 FROM ids WHERE id + 1 < ?1 + ?2)
  INSERT INTO accounts(id, balance) SELECT id, ?3 FROM ids
`
