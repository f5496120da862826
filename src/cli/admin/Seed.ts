/**
 * `dormouse seed`: inserts the rows of a file, as its tables insert them.
 * The tenant remembers the file by its checksum: the second time it does nothing.
 */

import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { inspect } from "./ExportFormat.ts"
import { again, onConflict } from "./Import.ts"
import { CommandFailed, connect, connection, repeatable, runCommand, sourceOf, tenant } from "./Shared.ts"
import { transfer } from "./Transfer.ts"

/** The command. */
export const seed = Command.make(
  "seed",
  {
    file: Argument.String("file").pipe(
      Argument.withDescription(
        'A file with a line {"table": "channels", "row": {"name": "general"}} for each row; - is the standard input'
      )
    ),
    ...connection,
    tenant,
    onConflict,
    again
  },
  ({ again, file, onConflict, tenant, ...connection }) =>
    Effect.gen(function* () {
      const call = yield* connect(connection)
      const description = yield* repeatable(call("describe", undefined))
      const source = yield* sourceOf(file)
      const inspected = yield* inspect(source)
      if (inspected.header !== undefined) {
        return yield* new CommandFailed({ message: `${source.name} is an export: use dormouse import` })
      }
      yield* transfer({ call, description, tenant, source, inspected, onConflict, isSeed: true, again })
    }).pipe(Effect.scoped, runCommand)
).pipe(
  Command.withDescription(
    "Insert the rows of a file. Keys, times and defaults are filled in as for any insert. A file that was seeded before changes nothing."
  ),
  Command.withShortDescription("Insert the rows of a file, once"),
  Command.withExamples([{ command: "dormouse seed seed.ndjson", description: "Seed the tenant main" }])
)
