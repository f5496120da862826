import { Violation } from "../random.ts"
import { secretOf } from "./callers.ts"

/** What the rows of the tenants must be: what accepted mutations wrote, and nothing else. */

/** A call, as it was sent. */
export interface SentCall {
  readonly id: unknown
  readonly tag: unknown
  readonly payload: unknown
  readonly headers: unknown
  readonly isNotification?: unknown
  readonly discard?: unknown
}

/** The calls in a text, or `undefined` if it is not JSON. */
export const callsIn = (text: string): ReadonlyArray<SentCall> | undefined => {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return undefined
  }
  const messages: ReadonlyArray<any> = Array.isArray(parsed) ? parsed : [parsed]
  return messages.filter((message) => message?._tag === "Request")
}

const writing: ReadonlySet<unknown> = new Set(["notes.add", "act.add"])

/** The body that a call is to write or find. */
export const bodyOf = ({ payload }: SentCall): string | undefined =>
  typeof payload === "object" && payload !== null && "body" in payload && typeof payload.body === "string"
    ? payload.body
    : undefined

const numberOf = ({ headers }: SentCall): string | undefined => {
  if (!Array.isArray(headers)) return undefined
  const named = headers.filter((header) => Array.isArray(header) && header[0] === "dormouse-mutation").at(-1)
  const [client, number] = String(named?.[1] ?? "").split("/")
  return named === undefined ? undefined : `${client}/${number}`
}

/** A row, as `notes.list` shows it. */
export interface Row {
  readonly id: string
  readonly body: string
}

/** The rows of one tenant. */
export class TenantModel {
  readonly secret: string
  /** The rows that calls were told of, by id. */
  private readonly told = new Map<string, string>()
  /** How often each body may have been written, whether anybody was told or not. */
  private readonly allowed = new Map<string, number>()
  private readonly numbers = new Set<string>()

  constructor(tenant: string) {
    this.secret = secretOf(tenant)
  }

  /** Calls that were let in: they may have written. A number writes once, however often it is sent. */
  accept(subject: string | null, calls: ReadonlyArray<SentCall>): void {
    for (const call of calls) {
      const body = bodyOf(call)
      if (body === undefined || !writing.has(call.tag)) continue
      const number = call.tag === "notes.add" ? numberOf(call) : undefined
      if (number !== undefined) {
        const key = JSON.stringify([subject, number, body])
        if (this.numbers.has(key)) continue
        this.numbers.add(key)
      }
      this.allowed.set(body, (this.allowed.get(body) ?? 0) + 1)
    }
  }

  /** A call was told that it has written a row. */
  tell({ body, id }: Row): void {
    this.told.set(id, body)
  }

  /** Checks the rows that the tenant has. */
  check(rows: ReadonlyArray<Row>): void {
    const counts = new Map<string, number>()
    const ids = new Map(rows.map(({ body, id }) => [id, body]))
    for (const { body } of rows) counts.set(body, (counts.get(body) ?? 0) + 1)
    if (counts.get(this.secret) !== 1) throw new Violation(`${this.secret} is there ${counts.get(this.secret)} times`)
    counts.delete(this.secret)
    for (const [body, count] of counts) {
      const allowed = this.allowed.get(body) ?? 0
      if (count > allowed) throw new Violation(`${count} rows have the body ${JSON.stringify(body)}, not ${allowed}`)
    }
    for (const [id, body] of this.told) {
      if (ids.get(id) !== body) throw new Violation(`the row ${id} is lost, with the body ${JSON.stringify(body)}`)
    }
  }
}
