/**
 * Enforces the policies of an app for the caller of one transaction.
 * What a condition looks at is recorded as a read of the transaction: the caller, and the parts of indexes of other tables.
 */
import { memoize } from "effect/Function"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Identity } from "../../contract/Auth.ts"
import { checkSets, type Operation, type Policy } from "../../contract/Policy.ts"
import { type Operand, operandOf } from "../../contract/PolicyCondition.ts"
import { ReferenceViolation, RowUnreadable } from "../../contract/Storage.ts"
import type { AnyTable } from "../../contract/TablePlan.ts"
import { jsonCodec } from "../../protocol/JsonCodec.ts"
import type { SqlValue } from "../Database.ts"
import { compareValues, type Key, Range } from "./KeyOrder.ts"
import { claimAt, evaluate, type PartialRow, type World } from "./PolicyEvaluation.ts"
import {
  type Access,
  type Change,
  denied,
  type Enforcement,
  type GuardedRuntime,
  type GuardedStorage,
  type PolicyGuard
} from "./PolicyPort.ts"
import {
  type ExistsNode,
  type FieldProgram,
  make as makeProgram,
  type Node,
  type PolicyProgram
} from "./PolicyProgram.ts"
import { split } from "./PolicySql.ts"
import type { Column, SqlRow } from "./RowCodec.ts"
import type { Scan } from "./Scan.ts"
import type { Footprint } from "./SqlFootprint.ts"
import { decode, failure, indexName, keyIndex, quote, rowId, type TableInfo } from "./TableInfo.ts"

/** The policies of an app, by table; each compiled when it is first used. */
class Programs {
  private readonly declared = new Map<string, Array<Policy>>()
  private readonly compiled = new Map<string, PolicyProgram>()

  constructor(policies: ReadonlyArray<Policy>) {
    checkSets(policies)
    for (const policy of policies) {
      const { name } = policy.table
      this.declared.set(name, [...(this.declared.get(name) ?? []), policy])
    }
  }

  has(table: string): boolean {
    return this.declared.has(table)
  }

  of({ table }: TableInfo): PolicyProgram | undefined {
    let program = this.compiled.get(table.name)
    if (program !== undefined) return program
    const policies = this.declared.get(table.name)
    if (policies === undefined) return undefined
    program = makeProgram(table, policies, operandOf)
    this.compiled.set(table.name, program)
    return program
  }
}

/** The same for each start of an object in one isolate. */
const programsOf: (policies: ReadonlyArray<Policy>) => Programs = memoize((policies) => new Programs(policies))

/** Enforces policies in the transactions of an object. */
export const enforcement: Enforcement = (policies, runtime) => {
  const programs = programsOf(policies)
  for (const { tables } of policies) for (const table of tables) checkTable(runtime, table)
  return {
    has: (table) => programs.has(table),
    guard: (storage, identity) => new Guard(programs, storage, identity)
  }
}

/** Throws for a table that is not of the app, also if one of the app has its name. */
const checkTable = (runtime: GuardedRuntime, table: AnyTable): void => {
  if (runtime.table(table).table !== table) throw new Error(`table ${table.name} is not one of the app's tables`)
}

/** Text of what is looked up, as a key of a map. JSON has no infinite numbers. */
const keyText = ({ index, table }: ExistsNode, prefix: ReadonlyArray<SqlValue>, rest: Node): string => {
  if (rest === true && prefix.every((value) => typeof value === "string"))
    return JSON.stringify([table, index, ...prefix])
  return JSON.stringify([table, [index, prefix, rest]], (_, part: unknown) =>
    typeof part === "number" && !Number.isFinite(part) ? ["number", String(part)] : part
  )
}

class Guard implements PolicyGuard {
  private readonly programs: Programs
  private readonly storage: GuardedStorage
  private readonly world: World
  /** Answers that took several statements, until the transaction writes. */
  private readonly answers = new Map<string, boolean>()
  /** The fields of each table that may be hidden from this caller, until the transaction writes. */
  private readonly fields = new Map<PolicyProgram, ReadonlyArray<readonly [FieldProgram, Node]>>()
  private changes = 0

  constructor(programs: Programs, storage: GuardedStorage, identity: () => Identity) {
    this.programs = programs
    this.storage = storage
    this.world = {
      identity: () => {
        storage.reads?.identity()
        return identity()
      },
      lookup: (node, prefix, rest) => this.lookup(node, prefix, rest)
    }
  }

  private holds(node: Node, row: SqlRow): boolean {
    return evaluate(node, [row], this.world) === true
  }

  // --- reading

  canRead(info: TableInfo, row: SqlRow): boolean {
    const program = this.programs.of(info)
    return program === undefined || this.holds(program.read, row)
  }

  access({ info, order }: Scan, equal: Key): Access {
    const program = this.programs.of(info)
    if (program === undefined) return true
    for (const { position, read } of program.fields) {
      // The order of the rows, and which of them are found, would tell the hidden values.
      if (order.includes(position) && evaluate(read, [], this.world) !== true) throw denied(info.table.name, "read")
    }
    const fixed: Array<SqlValue | undefined> = new Array(info.codec.columns.length)
    for (let i = 0; i < equal.length; i++) fixed[order[i]!] = equal[i]!
    const node = evaluate(program.read, [fixed], this.world)
    if (typeof node === "boolean") return node
    const { rest, sql } = split(node, info, 0)
    return { where: sql, check: rest === true ? undefined : (row) => this.holds(rest, row) }
  }

  show(info: TableInfo, row: SqlRow): any {
    const hidden = this.hiddenFields(info, row)
    if (hidden.length === 0) return decode(info, row)
    const masked = [...row]
    for (const { mask, position } of hidden) masked[position] = mask
    return Result.getOrThrowWith(info.codec.decode(masked), (issue) =>
      failure(new RowUnreadable({ table: info.table.name, issue }))
    )
  }

  isVisible(info: TableInfo, row: SqlRow, columns: ReadonlyArray<string>): boolean {
    return this.canRead(info, row) && !this.hiddenFields(info, row).some(({ column }) => columns.includes(column.name))
  }

  hidesFields(info: TableInfo, row: SqlRow): boolean {
    return this.hiddenFields(info, row).length > 0
  }

  private hiddenFields(info: TableInfo, row: SqlRow): ReadonlyArray<FieldProgram> {
    const program = this.programs.of(info)
    if (program === undefined || program.fields.length === 0) return noFields
    this.dropChanged()
    let open = this.fields.get(program)
    if (open === undefined) {
      open = program.fields.flatMap((field) => {
        const read = evaluate(field.read, [], this.world)
        return read === true ? [] : [[field, read] as const]
      })
      this.fields.set(program, open)
    }
    return open.length === 0 ? noFields : open.flatMap(([field, read]) => (this.holds(read, row) ? [] : [field]))
  }

  // --- writing

  withSet(info: TableInfo, value: object, operation: Operation): object {
    const program = this.programs.of(info)
    if (program === undefined || program.set.length === 0) return value
    const next: Record<string, unknown> = { ...value }
    for (const { column, value } of program.set) {
      const given = this.valueOf(column, value)
      if (Option.isNone(given)) throw denied(info.table.name, operation)
      if (given.value === undefined) delete next[column.name]
      else next[column.name] = given.value
    }
    return next
  }

  /** The value of a field that the server sets; none if what is known of the caller does not fit the field. */
  private valueOf(column: Column, operand: Operand): Option.Option<unknown> {
    if (operand._tag === "Literal") return Option.some(operand.value)
    const json = claimAt(operand._tag === "Claim" ? operand.path : undefined, this.world)
    if (json === undefined || (json === null && column.notNull)) {
      return column.optional ? Option.some(undefined) : Option.none()
    }
    return decoderOf(column)(json)
  }

  checkInsert(info: TableInfo, rows: ReadonlyArray<SqlRow>): void {
    const program = this.programs.of(info)
    if (program !== undefined && !rows.every((row) => this.holds(program.insert, row))) {
      throw denied(info.table.name, "insert")
    }
    this.checkReferences(info, rows, () => true)
  }

  checkBefore(info: TableInfo, row: SqlRow, operation: "update" | "delete"): void {
    const program = this.programs.of(info)
    if (program !== undefined && !this.holds(program[operation], row)) throw denied(info.table.name, operation)
  }

  checkChange(info: TableInfo, { isPatch, named, next, old }: Change): void {
    const program = this.programs.of(info)
    const hidden = this.hiddenFields(info, old)
    // That a hidden value stays the same would tell it: naming the field counts as changing it.
    const isChanged = (position: number, name: string) =>
      compareValues(old[position]!, next[position]!) !== 0 ||
      (named.has(name) && hidden.some(({ column }) => column.name === name))
    if (program !== undefined) {
      const isDenied =
        !this.holds(program.update, next) ||
        program.fields.some(
          ({ column, position, write }) =>
            isChanged(position, column.name) && !(this.holds(write, old) && this.holds(write, next))
        ) ||
        (isPatch && program.set.some(({ column }) => isChanged(info.codec.columnIndex.get(column.name)!, column.name)))
      if (isDenied) throw denied(info.table.name, "update")
    }
    this.checkReferences(info, [next], (column) => isChanged(info.codec.columnIndex.get(column)!, column))
  }

  /** A row that may not be read is no row to refer to. Whether the statement would find it is not asked. */
  private checkReferences(info: TableInfo, rows: ReadonlyArray<SqlRow>, isWritten: (column: string) => boolean): void {
    const { storage } = this
    for (const [column, reference] of info.table.references) {
      const target = storage.runtime.table(reference.table())
      if (!this.programs.has(target.table.name) || !isWritten(column)) continue
      const written = new Map(target === info ? rows.map((row) => [rowId(info, row[info.keyPosition]!), row]) : [])
      for (const row of rows) {
        const key = row[info.codec.columnIndex.get(column)!]!
        if (key === null) continue
        const found = storage.rowByKey(target, key) ?? written.get(rowId(target, key))
        if (found !== undefined && this.canRead(target, found)) continue
        throw failure(new ReferenceViolation({ table: info.table.name, column, action: "missing" }))
      }
    }
  }

  checkConflict(
    info: TableInfo,
    rows: ReadonlyArray<SqlRow>,
    columns: ReadonlyArray<string>,
    operation: "insert" | "update"
  ): void {
    if (!this.programs.has(info.table.name)) return
    const positions = columns.map((column) => info.codec.columnIndex.get(column)!)
    const conditions = columns.map((column) => `${quote(column)} = ?`).join(" AND ")
    for (const row of rows) {
      const values: ReadonlyArray<SqlValue> = positions.map((position) => row[position]!)
      if (values.includes(null)) continue
      const found = this.storage.select({
        sql: `SELECT ${info.columns} FROM ${info.name} WHERE ${conditions}`,
        params: values
      })
      for (const other of found) {
        const isItself = operation === "update" && compareValues(other[info.keyPosition]!, row[info.keyPosition]!) === 0
        if (!isItself && !this.isVisible(info, other, columns)) throw denied(info.table.name, operation)
      }
    }
  }

  checkSql({ reads, writes }: Footprint): void {
    if (reads === "everything" || writes === "everything") throw denied("*", "sql")
    for (const table of [...reads, ...writes]) if (this.programs.has(table)) throw denied(table, "sql")
  }

  // --- other tables

  /** Whether the rows of another table that `prefix` finds include one for which `rest` holds. */
  private lookup(node: ExistsNode, prefix: ReadonlyArray<SqlValue>, rest: Node): boolean {
    const { storage } = this
    const info = storage.runtime.tableNamed(node.table)
    storage.reads?.range(node.table, node.index, Range.prefix(prefix))
    const key = keyText(node, prefix, rest)
    const isKept = rest === true && !storage.runtime.footprints.mayHaveTriggers()
    this.dropChanged()
    const known = isKept ? info.rowCache.answer(key) : this.answers.get(key)
    if (known !== undefined) return known
    const answer = this.ask(info, node, prefix, rest)
    if (isKept) info.rowCache.setAnswer(key, answer)
    else this.answers.set(key, answer)
    return answer
  }

  private ask(info: TableInfo, node: ExistsNode, prefix: ReadonlyArray<SqlValue>, rest: Node): boolean {
    const { storage } = this
    const { rest: open, sql } = split(rest, info, node.depth)
    const columns = node.columns.map((position) => `${quote(info.codec.columns[position]!.name)} = ?`)
    const from =
      `FROM ${info.name}${node.index === keyIndex ? "" : ` INDEXED BY ${quote(indexName(node.table, node.index))}`} ` +
      `WHERE ${[...columns, ...(sql === undefined ? [] : [sql.sql])].join(" AND ")} LIMIT ?`
    const params = [...prefix, ...(sql?.params ?? [])]
    if (open === true) return storage.select({ sql: `SELECT 1 ${from}`, params: [...params, 1] }).length > 0
    const rows = storage.select({ sql: `SELECT ${info.columns} ${from}`, params: [...params, storage.rowsLeft() + 1] })
    storage.countRead(rows.length)
    return rows.some((row) => {
      const at: Array<PartialRow> = []
      at[node.depth] = row
      return evaluate(open, at, this.world) === true
    })
  }

  /** Drops what a write of this transaction may have changed. */
  private dropChanged(): void {
    if (this.changes === this.storage.changes) return
    this.changes = this.storage.changes
    this.answers.clear()
    this.fields.clear()
  }
}

const noFields: ReadonlyArray<FieldProgram> = []

/** Decodes the JSON form of a field. */
const decoderOf: (column: Column) => (json: unknown) => Option.Option<unknown> = memoize(({ schema }: Column) =>
  Schema.decodeUnknownOption(jsonCodec(schema))
)
