/**
 * `dormouse sql`: one statement in the database of a tenant.
 * The rows are printed as a table, or as lines of JSON for another program.
 */

import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import { maxStatementRows, type StatementResult } from "../../admin/AdminApi.ts"
import { CommandFailed, connect, connection, note, print, readInput, runCommand, tenant } from "./Shared.ts"
import * as TextTable from "./TextTable.ts"

/** A row as an object. Of columns with one name the last one counts, as in SQLite's own JSON. */
const objectOf = (columns: ReadonlyArray<string>, row: StatementResult["rows"][number]) =>
  Object.fromEntries(columns.map((column, i) => [column, row[i] ?? null]))

/** The command. */
export const sql = Command.make(
  "sql",
  {
    statement: Argument.String("statement").pipe(
      Argument.withDescription("The statement; - reads it from the standard input")
    ),
    ...connection,
    tenant,
    write: Flag.Boolean("write").pipe(
      Flag.withDescription("Let the statement write. Live queries see what it writes"),
      Flag.withDefault(false)
    ),
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print a line of JSON for each row"), Flag.withDefault(false)),
    maxRows: Flag.Int("max-rows").pipe(
      Flag.withDescription(`Rows to print at most, up to ${maxStatementRows}`),
      Flag.withDefault(1000),
      Flag.filter(
        (rows) => rows >= 0 && rows <= maxStatementRows,
        () => `between 0 and ${maxStatementRows}`
      )
    )
  },
  ({ json, maxRows, statement, tenant, write, ...connection }) =>
    Effect.gen(function* () {
      const call = yield* connect(connection)
      const text = (statement === "-" ? yield* readInput : statement).trim()
      if (text === "") return yield* new CommandFailed({ message: "there is no statement" })
      const { columns, rows, truncated, written } = yield* call("sql", { tenant, statement: text, write, maxRows })
      if (json) {
        yield* print(rows.map((row) => `${JSON.stringify(objectOf(columns, row))}\n`).join(""))
      } else if (columns.length > 0) {
        const count = rows.length === 1 ? "1 row" : `${rows.length} rows`
        yield* print(`${[...TextTable.lines(columns, rows), `(${count})`].join("\n")}\n`)
      }
      if (truncated) yield* note("there are more rows: raise --max-rows, or select fewer\n")
      if (written > 0) yield* note(`${written} ${written === 1 ? "row" : "rows"} written\n`)
    }).pipe(Effect.scoped, runCommand)
).pipe(
  Command.withDescription("Run one SQL statement in a tenant's database. Without --write it cannot write."),
  Command.withShortDescription("Run one SQL statement"),
  Command.withExamples([
    { command: "dormouse sql 'SELECT count(*) FROM messages'", description: "Count rows of the tenant main" },
    { command: "dormouse sql --tenant acme --write 'DELETE FROM drafts WHERE author IS NULL'", description: "Write" },
    { command: "dormouse sql --json - < report.sql", description: "Read the statement from a file" }
  ])
)
