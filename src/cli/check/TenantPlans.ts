/**
 * What a start of the project's version would do to the tenants of a deployment, before it is deployed, as text.
 * Tenants with the same plan are shown together.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { App } from "../../contract/App.ts"
import type { Plan } from "../../contract/MigrationPlan.ts"
import * as SchemaTarget from "../../services/storage/SchemaTarget.ts"
import * as Plans from "../admin/Plans.ts"
import * as Progress from "../admin/Progress.ts"
import { Failure } from "../Failure.ts"
import * as Style from "../Style.ts"

/** Names that a line shows. */
const maxNames = 5
/** Statements that are shown of tenants with the same plan. */
const maxStatements = 40

/** Asks the deployment, and prints what a start would do. Whether it would be refused somewhere. */
export const show = Effect.fnUntraced(function* (app: App<any>, options: Plans.Options) {
  const target = yield* Effect.try({
    try: () => SchemaTarget.toData(SchemaTarget.targetOf(app.tables, app)),
    catch: (cause) => new Failure({ problem: "the tables of the app cannot be created", remedy: String(cause), cause })
  })
  const found = yield* Plans.ask(target, options)
  yield* Console.log(report(found, yield* Style.style))
  return found.some(({ plan }) => Option.isSome(plan) && isRefused(plan.value))
})

const isRefused = ({ problems }: Plan): boolean => problems.length > 0

/** Tenants with the same plan, and the rows that their migrations have yet to visit, by migration. */
interface Group {
  readonly plan: Plan
  readonly tenants: Array<string>
  readonly rows: Map<string, number>
}

/** The report: tenants with the same plan together, those that are refused last. */
const report = (asked: ReadonlyArray<Plans.TenantPlan>, style: Style.Style): string => {
  const missing = asked.filter(({ plan }) => Option.isNone(plan)).map(({ tenant }) => tenant)
  const groups = new Map<string, Group>()
  for (const { plan, tenant } of asked) {
    if (Option.isNone(plan)) continue
    const { migrations, ...rest } = plan.value
    const key = JSON.stringify([rest, migrations.map(({ failure, id }) => [id, failure])])
    const group: Group = groups.get(key) ?? { plan: plan.value, tenants: [], rows: new Map() }
    groups.set(key, group)
    group.tenants.push(tenant)
    for (const { id, rows } of migrations) group.rows.set(id, (group.rows.get(id) ?? 0) + rows)
  }
  const order = (plan: Plan) => (plan.isCurrent ? 0 : isRefused(plan) ? 2 : 1)
  const sorted = [...groups.values()].sort((one, other) => order(one.plan) - order(other.plan))
  return [
    ...sorted.flatMap(({ plan, rows, tenants }) => linesOf(plan, tenants, rows, style)),
    ...(missing.length === 0
      ? []
      : [`${style.yellow("not there")}  ${namesOf(missing)}: the deployment has no such active tenant`])
  ].join("\n")
}

/** Names of tenants, a few of many. */
const namesOf = (tenants: ReadonlyArray<string>): string => {
  const more = tenants.length - maxNames
  const names = tenants.slice(0, maxNames).join(", ")
  return `${tenants.length === 1 ? "tenant" : "tenants"} ${names}${more > 0 ? ` and ${Progress.count(more)} more` : ""}`
}

const linesOf = (
  plan: Plan,
  tenants: ReadonlyArray<string>,
  rows: ReadonlyMap<string, number>,
  { bold, dim, green, red, yellow }: Style.Style
): ReadonlyArray<string> => {
  const names = bold(namesOf(tenants))
  if (plan.isCurrent) return [`${green("no change")}  ${names}`]
  if (isRefused(plan)) {
    return [
      `${red("refused")}  ${names}: the start would be refused, and the data stay as they are`,
      ...plan.problems.flatMap(({ column, problem, remedy, table }) => [
        `  table ${table}${column === undefined ? "" : `, column ${column}`}: ${problem}`,
        dim(`  → ${remedy}`)
      ])
    ]
  }
  const statements = plan.statements.slice(0, maxStatements).map(({ sql }) => dim(`  ${sql}`))
  const left = plan.statements.length - statements.length
  return [
    `${yellow("changes")}  ${names}`,
    ...plan.renames.map(({ from, kind, table, to }) =>
      kind === "table" ? `  table ${from} becomes ${to}` : `  table ${table}: column ${from} becomes ${to}`
    ),
    ...statements,
    ...(left > 0 ? [dim(`  … and ${Progress.count(left)} more statements`)] : []),
    ...plan.migrations.flatMap(({ failure, id, isConcurrent, table }) => [
      `  migration ${id}: ${Progress.count(rows.get(id) ?? 0)} rows of ${table}, ${
        isConcurrent ? "while calls are answered" : "and calls fail with Unavailable until they are done"
      }`,
      ...(failure === null ? [] : [red(`  its last step failed, and it is tried again: ${failure}`)])
    ])
  ]
}
