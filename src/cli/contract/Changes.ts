/**
 * What the clients of the last release notice of a new one, and what its rows: a function of two contracts.
 * Clients send their payloads to the new version, which answers them.
 */
import * as Equal from "effect/Equal"
import { type Mismatch, mismatches, type Parties } from "./Compatibility.ts"
import type { Contract, RpcDescription } from "./Contract.ts"
import type { Shape } from "./Shape.ts"

/** A difference between two contracts. */
export interface Change {
  /** The rpc or the table. */
  readonly subject: string
  /** What of it has changed: `payload`, `success`, `error`, `row`, or the whole. */
  readonly part: "rpc" | "payload" | "success" | "error" | "row"
  /** The place in the JSON, such as `items[].title`; empty for the whole value. */
  readonly path: string
  readonly verdict: "breaking" | "unproved" | "safe"
  readonly problem: string
  /** What to do about it; empty if nothing needs to be done. */
  readonly remedy: string
}

/** All differences, those that break something first. */
export const changes = (before: Contract, now: Contract): ReadonlyArray<Change> => {
  const found: Array<Change> = []
  for (const [tag, old] of Object.entries(before.rpcs)) {
    const rpc = now.rpcs[tag]
    found.push(...(rpc === undefined ? [removed(tag)] : rpcChanges(tag, old, rpc)))
  }
  for (const tag of Object.keys(now.rpcs)) {
    if (before.rpcs[tag] === undefined) found.push(safe(tag, "rpc", "is new"))
  }
  for (const [name, old] of Object.entries(before.tables)) {
    const table = now.tables[name]
    if (table !== undefined) found.push(...rowChanges(name, old.row, table.row))
  }
  return found.sort((one, other) => order.indexOf(one.verdict) - order.indexOf(other.verdict))
}

const order: ReadonlyArray<Change["verdict"]> = ["breaking", "unproved", "safe"]

const safe = (subject: string, part: Change["part"], problem: string): Change => ({
  subject,
  part,
  path: "",
  verdict: "safe",
  problem,
  remedy: ""
})

const removed = (tag: string): Change => ({
  subject: tag,
  part: "rpc",
  path: "",
  verdict: "breaking",
  problem: "is gone, and old clients call it",
  remedy: "keep it until no client calls it"
})

const rpcChanges = (tag: string, old: RpcDescription, now: RpcDescription): ReadonlyArray<Change> => {
  if (old.kind !== now.kind || old.streams !== now.streams) {
    const kindOf = ({ kind, streams }: RpcDescription) => (streams && kind === "action" ? "streaming action" : kind)
    return [
      {
        subject: tag,
        part: "rpc",
        path: "",
        verdict: "breaking",
        problem: `was a ${kindOf(old)} and is a ${kindOf(now)}, and old clients call it as before`,
        remedy: "give the new one another tag, and keep this one until no client calls it"
      }
    ]
  }
  const toServer: Parties = { sender: "old clients", reader: "the new version", isStrict: now.strict === true }
  const toClients: Parties = { sender: "new versions", reader: "an old client", isStrict: old.strict === true }
  return [
    ...partChanges(tag, "payload", old.payload, now.payload, mismatches(old.payload, now.payload, toServer)),
    ...partChanges(tag, "success", old.success, now.success, mismatches(now.success, old.success, toClients)),
    ...partChanges(tag, "error", old.error, now.error, mismatches(now.error, old.error, toClients))
  ]
}

const remedies = {
  payload: "accept what it accepted before (optional fields, a union), or give the new rpc another tag",
  success: "send what was sent before, or give the new rpc another tag",
  error: "fail with the errors that old clients know, or give the new rpc another tag"
}

const partChanges = (
  subject: string,
  part: keyof typeof remedies,
  old: Shape,
  now: Shape,
  found: ReadonlyArray<Mismatch>
): ReadonlyArray<Change> => {
  if (found.length > 0) return found.map((each) => ({ subject, part, remedy: remedies[part], ...each }))
  if (Equal.equals(old, now)) return []
  const understood = part === "payload" ? "what old clients send is accepted" : "old clients read it"
  return [safe(subject, part, `has changed, and ${understood}`)]
}

/** Rows of the last release that the new one reads. Whether the columns can be migrated is for the start to decide. */
const rowChanges = (table: string, old: Shape, now: Shape): ReadonlyArray<Change> => {
  const parties: Parties = { sender: "stored rows", reader: "the new version" }
  const columns = Object.entries(old.properties ?? {}).flatMap(([name, column]) => {
    const next = now.properties?.[name]
    if (next === undefined) return []
    const definitions = (shape: Shape, from: Shape): Shape => (from.$defs ? { ...shape, $defs: from.$defs } : shape)
    return mismatches(definitions(column, old), definitions(next, now), parties).map(({ path, ...rest }) => ({
      subject: `table ${table}`,
      part: "row" as const,
      ...rest,
      path: path === "" || path.startsWith("[") ? `${name}${path}` : `${name}.${path}`,
      remedy: "keep reading what is stored, or change the rows first: a row that does not fit fails with RowUnreadable"
    }))
  })
  return columns.length > 0 || Equal.equals(old, now)
    ? columns
    : [safe(`table ${table}`, "row", "has changed, and what is stored in the columns that stay is read")]
}
