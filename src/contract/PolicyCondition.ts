/**
 * Conditions of policies as data, and the typed functions that build them.
 * A condition is built once, when the policy is declared, from expressions that stand for columns and for the caller.
 */
import type { AnyTable } from "./TablePlan.ts"

/** Where an expression is: all operands of one scope are columns of the same row. Compared by identity. */
export interface Scope {
  readonly table: AnyTable
}

/** What a condition compares. */
export type Operand =
  | { readonly _tag: "Column"; readonly scope: Scope; readonly column: string }
  | { readonly _tag: "Subject" }
  | { readonly _tag: "Claim"; readonly path: ReadonlyArray<string> }
  | { readonly _tag: "Literal"; readonly value: unknown }

/** How two operands are compared. */
export type Comparison = "eq" | "ne" | "lt" | "lte" | "gt" | "gte"

/** A condition of a policy. As in SQL, a comparison with null is neither true nor false, and only what is true allows. */
export type Condition =
  | { readonly _tag: "Constant"; readonly value: boolean }
  | { readonly _tag: "Compare"; readonly comparison: Comparison; readonly left: Operand; readonly right: Operand }
  | { readonly _tag: "In"; readonly operand: Operand; readonly list: ReadonlyArray<unknown> | Operand }
  | { readonly _tag: "IsNull"; readonly operand: Operand }
  | { readonly _tag: "And" | "Or"; readonly conditions: ReadonlyArray<Condition> }
  | { readonly _tag: "Not"; readonly condition: Condition }
  | {
      readonly _tag: "Exists"
      readonly scope: Scope
      /** The index that finds the rows; the empty text for the key. */
      readonly index: string
      /** The first columns of the index, each with what it equals. */
      readonly bound: ReadonlyArray<readonly [column: string, value: Operand]>
      /** What else must hold for a found row. */
      readonly rest: Condition
    }

const operandKey = "~effect-dormouse/Policy/operand"

/** A value of type `A` that is known when the condition is evaluated: a column of a row, or something about the caller. */
export interface Expression<out A> {
  readonly [operandKey]: Operand
  readonly "~effect-dormouse/Policy/type"?: A
}

/** The columns of a row. */
export type RowExpressions<Row> = 0 extends 1 & Row ? any : { readonly [Field in keyof Row]-?: Expression<Row[Field]> }

/** The claims of the caller, each a property of the one that contains it. */
export type ClaimExpressions<Claims> = 0 extends 1 & Claims
  ? any
  : [Claims] extends [string | number | boolean | bigint | null | undefined | ReadonlyArray<any>]
    ? Expression<Claims>
    : Expression<Claims> & { readonly [Name in keyof Claims]-?: ClaimExpressions<Claims[Name]> }

/** The caller. */
export interface Me<Claims = any> {
  /** Its id. Null for an anonymous caller, and so equal to nothing. */
  readonly subject: Expression<string | null>
  readonly claims: ClaimExpressions<Claims>
}

type Widened<A> = A extends string ? string : A extends number ? number : A extends boolean ? boolean : A

/** What a value of type `A` can be compared with: a literal of its type, or an expression. */
export type Comparable<A> = NonNullable<A> | Expression<Widened<NonNullable<A>> | null | undefined>

const isExpression = (value: unknown): value is Expression<any> =>
  typeof value === "object" && value !== null && operandKey in value

/** The operand of an expression or of a literal. */
export const operandOf = (value: unknown): Operand =>
  isExpression(value) ? value[operandKey] : { _tag: "Literal", value }

const expression = (operand: Operand): Expression<any> => ({ [operandKey]: operand })

/** The columns of a scope's row. */
export const rowOf = (scope: Scope): RowExpressions<any> =>
  Object.fromEntries(
    Object.keys(scope.table.model.fields).map((column) => [column, expression({ _tag: "Column", scope, column })])
  )

const claimOf = (path: ReadonlyArray<string>): any =>
  new Proxy(expression({ _tag: "Claim", path }), {
    get: (target, name) =>
      typeof name === "symbol" || name === operandKey ? Reflect.get(target, name) : claimOf([...path, name])
  })

/** The caller. */
export const me: Me = { subject: expression({ _tag: "Subject" }), claims: claimOf([]) }

type Compare = <A>(left: Expression<A>, right: Comparable<NoInfer<A>>) => Condition

const compare =
  (comparison: Comparison): Compare =>
  (left, right) => ({ _tag: "Compare", comparison, left: operandOf(left), right: operandOf(right) })

/** Both are equal. Null equals nothing, not even null: see `isNull`. */
export const eq: Compare = compare("eq")
/** Both have a value, and they differ. */
export const ne: Compare = compare("ne")
/** The first is less. Columns are ordered as in an index. */
export const lt: Compare = compare("lt")
/** The first is less, or equal. */
export const lte: Compare = compare("lte")
/** The first is greater. */
export const gt: Compare = compare("gt")
/** The first is greater, or equal. */
export const gte: Compare = compare("gte")

const isIn = <A>(
  value: Expression<A> | (A & (string | number | boolean)),
  list:
    | ReadonlyArray<NonNullable<NoInfer<A>>>
    | Expression<ReadonlyArray<Widened<NonNullable<NoInfer<A>>>> | null | undefined>
): Condition => ({
  _tag: "In",
  operand: operandOf(value),
  list: isExpression(list) ? operandOf(list) : Array.from(list)
})

export {
  /** The value is one of a list: of literals, or of a claim that is a list. */
  isIn as in
}

/** The column is null or missing, or the claim is. */
export const isNull = (value: Expression<any>): Condition => ({ _tag: "IsNull", operand: operandOf(value) })

/** All of them hold. */
export const and = (...conditions: ReadonlyArray<Condition>): Condition => ({ _tag: "And", conditions })
/** At least one of them holds. */
export const or = (...conditions: ReadonlyArray<Condition>): Condition => ({ _tag: "Or", conditions })
/** The condition is false. What compares with null is not false, and so its negation does not hold either. */
export const not = (condition: Condition): Condition => ({ _tag: "Not", condition })
/** Always holds. */
export const allow: Condition = { _tag: "Constant", value: true }
/** Never holds. */
export const deny: Condition = { _tag: "Constant", value: false }

/** The paths to those claims that can be `true`, up to a depth. */
type Paths<Claims, Depth extends ReadonlyArray<unknown> = [1, 2, 3]> = 0 extends 1 & Claims
  ? readonly [string, ...ReadonlyArray<string>]
  : {
      [Name in keyof Claims & string]-?:
        | (true extends Claims[Name] ? readonly [Name] : never)
        | (Depth extends [unknown, ...infer Less]
            ? NonNullable<Claims[Name]> extends string | number | boolean | ReadonlyArray<any>
              ? never
              : readonly [Name, ...Paths<NonNullable<Claims[Name]>, Less>]
            : never)
    }[keyof Claims & string]

/** The claim of the caller at this path is `true`. */
export const claim = <Claims>(
  _me: Me<Claims>,
  ...path: Extract<Paths<NoInfer<Claims>>, ReadonlyArray<string>>
): Condition => eq<boolean>(expression({ _tag: "Claim", path }), true)

/** The caller is the system, in whose name jobs run. A token has a subject, so its caller never is, whatever it claims. */
export const isSystem = (me: Me): Condition =>
  and(isNull(me.subject), eq<boolean>(expression({ _tag: "Claim", path: ["system"] }), true))

/**
 * A row of the table has these values, or fulfills the condition. The first columns of an index, or the key, must be
 * compared by `eq`: each check is one lookup in that index. The policies of the other table do not apply to it.
 */
export const exists = <T extends AnyTable>(
  table: T,
  related:
    | { readonly [Field in keyof T["model"]["Type"]]?: Comparable<T["model"]["Type"][Field]> }
    | ((row: RowExpressions<T["model"]["Type"]>) => Condition)
): Condition => {
  const scope: Scope = { table }
  const row = rowOf(scope)
  const condition =
    typeof related === "function"
      ? related(row)
      : and(...Object.entries(related).map(([column, value]) => eq(columnOf(table, row, column), value)))
  const all = conjunctsOf(condition)
  const bound = new Map<string, readonly [value: Operand, from: Condition]>()
  for (const part of all) {
    const binding = bindingOf(part, scope)
    if (binding !== undefined && !bound.has(binding[0])) bound.set(binding[0], [binding[1], part])
  }
  const { columns, index } = indexFor(table, new Set(bound.keys()))
  const used = new Set(columns.map((column) => bound.get(column)![1]))
  return {
    _tag: "Exists",
    scope,
    index,
    bound: columns.map((column) => [column, bound.get(column)![0]]),
    rest: and(...all.filter((part) => !used.has(part)))
  }
}

const columnOf = (table: AnyTable, row: RowExpressions<any>, column: string): Expression<any> => {
  const found = row[column]
  if (found === undefined)
    throw new Error(`a policy asks for column ${column}, which table ${table.name} does not have`)
  return found
}

const conjunctsOf = (condition: Condition): ReadonlyArray<Condition> =>
  condition._tag === "And" ? condition.conditions.flatMap(conjunctsOf) : [condition]

/** The column of the scope that the condition gives a value from outside of the scope. */
const bindingOf = (condition: Condition, scope: Scope): readonly [string, Operand] | undefined => {
  if (condition._tag !== "Compare" || condition.comparison !== "eq") return undefined
  const { left, right } = condition
  const isInside = (operand: Operand) => operand._tag === "Column" && operand.scope === scope
  if (left._tag === "Column" && isInside(left) && !isInside(right)) return [left.column, right]
  return right._tag === "Column" && isInside(right) && !isInside(left) ? [right.column, left] : undefined
}

/** The index of which the most first columns are bound. Throws when there is none. */
const indexFor = (table: AnyTable, bound: ReadonlySet<string>) => {
  if (bound.has(table.key)) return { index: "", columns: [table.key] }
  let found: { readonly index: string; readonly columns: ReadonlyArray<string> } = { index: "", columns: [] }
  for (const { columns, name } of table.indexes.values()) {
    const free = columns.findIndex((column) => !bound.has(column))
    const first = free === -1 ? columns : columns.slice(0, free)
    if (first.length > found.columns.length) found = { index: name, columns: first }
  }
  if (found.columns.length > 0) return found
  const given = bound.size === 0 ? "none is compared by eq" : `compared by eq: ${[...bound].join(", ")}`
  throw new Error(
    `a policy asks whether a row of table ${table.name} exists, and neither its key nor an index finds it: the first ` +
      `columns of an index must be compared by eq (${given}); add an index to table ${table.name}`
  )
}
