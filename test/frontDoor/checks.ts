import { Violation } from "../random.ts"
import { type Caller, secretOf, secretsIn } from "./callers.ts"
import { dying } from "./messages.ts"
import { bodyOf, type Row, type SentCall } from "./model.ts"

/** What every answer of the front door must be. */

/** Throws unless a condition holds. */
export function ensure(condition: unknown, message: () => string): asserts condition {
  if (!condition) throw new Violation(message())
}

/** What no caller may see: causes, statements, stacks and paths. The fuzzer sends none of it. */
const leaks =
  /vault|\bat .{1,200}:\d+:\d+|node_modules|file:\/\/|\/src\/|sqlite|constraint failed|no such table|SqlError/i

/** Who reads an answer. */
export interface Reader {
  readonly tenant: string
  readonly caller: Caller
  readonly isDeclared: boolean
}

/** Checks that a text has nothing that its reader may not see. */
export const checkText = (text: string, reader?: Reader): void => {
  const leak = leaks.exec(text)
  ensure(leak === null, () => `an answer shows ${JSON.stringify(leak?.[0])}: ${text.slice(0, 500)}`)
  const own = reader && [secretOf(reader.tenant), secretOf(String(reader.caller.subject))]
  if (reader?.isDeclared === false) own?.push(secretOf("the-token"))
  for (const secret of secretsIn(text)) {
    ensure(own?.includes(secret), () => `${JSON.stringify(reader)} sees ${secret}: ${text.slice(0, 500)}`)
  }
}

const reasons: ReadonlySet<unknown> = new Set([
  "PayloadInvalid",
  "UnknownRpc",
  "LimitExceeded",
  "CallLost",
  "MutationMismatch",
  "OutcomeUnreadable",
  "Unauthenticated",
  "Forbidden"
])

/** Checks the end of a call. Returns the row that it says it has written. */
export const checkExit = (call: SentCall | undefined, exit: any, caller: Caller): Row | undefined => {
  const shown = () => `${JSON.stringify(call)?.slice(0, 500)} ends with ${JSON.stringify(exit).slice(0, 500)}`
  if (exit?._tag === "Success") {
    ensure(call?.tag !== "dormouse.authenticate" || call.discard === true, () => `a bad token is accepted: ${shown()}`)
    if (call?.tag === "whoami" && call.discard !== true) {
      ensure(exit.value?.subject === caller.subject, () => `${caller.subject} is called ${exit.value?.subject}`)
    }
    return call?.tag === "notes.add" || call?.tag === "act.add" ? (exit.value ?? undefined) : undefined
  }
  ensure(exit?._tag === "Failure" && Array.isArray(exit.cause) && exit.cause.length > 0, shown)
  for (const { _tag, defect, error } of exit.cause) {
    if (_tag === "Die") {
      // Storage refuses bodies that no note can have, and the handlers of the notes do not catch it.
      const body = call && bodyOf(call)
      ensure(dying.has(call?.tag) || body === "" || body?.isWellFormed() === false, shown)
      ensure(defect?._tag === "InternalError" && typeof defect.id === "string", shown)
    } else if (_tag === "Fail") {
      const reason = error?._tag === "CallError" ? error.reason?._tag : undefined
      // Verifying a token may fail for another reason than the token.
      const isCallError = reasons.has(reason) || (reason === "Unavailable" && call?.tag === "dormouse.authenticate")
      ensure(isCallError || error?._tag === "Refused" || error?._tag === "CursorRefused", shown)
    } else ensure(_tag === "Interrupt", shown)
  }
  return undefined
}

/** Checks the messages that answer a body. Returns the rows that they say were written. */
export const checkMessages = (
  calls: ReadonlyArray<SentCall>,
  messages: ReadonlyArray<any>,
  caller: Caller,
  status: number
): ReadonlyArray<Row> => {
  const waiting = new Map(
    calls.flatMap((call) => (call.isNotification === true ? [] : [[String(call.id), call] as const]))
  )
  const answered = new Set<unknown>()
  const rows: Array<Row> = []
  for (const message of messages) {
    const call = waiting.get(String(message?.requestId))
    const shown = () => `${JSON.stringify(message).slice(0, 500)} answers ${JSON.stringify(calls).slice(0, 500)}`
    ensure(call !== undefined && (message._tag === "Exit" || message._tag === "Chunk"), shown)
    if (message._tag === "Chunk") {
      checkFrames(call, message.values, caller)
      continue
    }
    // Too many requests are refused before their ids are compared.
    ensure(status === 413 || !answered.has(message.requestId), shown)
    answered.add(message.requestId)
    const row = checkExit(call, message.exit, caller)
    if (row !== undefined) rows.push(row)
  }
  for (const [id, call] of waiting) {
    ensure(answered.has(call.id), () => `the call ${id} has no answer: ${JSON.stringify(call).slice(0, 500)}`)
  }
  return rows
}

/** Checks the frames of a live query. */
export const checkFrames = (call: SentCall | undefined, values: ReadonlyArray<any>, caller: Caller): void => {
  ensure(Array.isArray(values) && values.length > 0, () => "a chunk without values")
  if (call?.tag !== "live:whoami") return
  for (const { _tag, value } of values) {
    if (_tag === "Snapshot")
      ensure(value.subject === caller.subject, () => `${caller.subject} is called ${value.subject}`)
  }
}

/** Close codes of the server in `docs/errors.md` that damaged messages may cause. */
export const closesForMessages: ReadonlySet<number> = new Set([1007, 1008, 1009])
