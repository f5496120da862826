/**
 * `dormouse import`: the rows of an export, into a tenant of this app or of another one with the same tables.
 * A file is checked as a whole before its first row is sent.
 */

import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import { differences, inspect } from "./ExportFormat.ts"
import { CommandFailed, connect, connection, note, repeatable, runCommand, type Source, sourceOf } from "./Shared.ts"
import { transfer } from "./Transfer.ts"

/** What an import, or a seed, does with a row whose key is there: a flag of both. */
export const onConflict = Flag.Literals("on-conflict", ["fail", "skip", "replace"]).pipe(
  Flag.withDescription("What to do with a row whose key the tenant has already"),
  Flag.withDefault("fail")
)

/** Imports a file again that was imported before: a flag of both. */
export const again = Flag.Boolean("again").pipe(
  Flag.withDescription("Import the file although it was imported before"),
  Flag.withDefault(false)
)

/** The files to import: one, or all of a folder. */
const filesOf = Effect.fnUntraced(function* (file: string, all: boolean) {
  if (!all) return [yield* sourceOf(file)]
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const names = yield* fs.readDirectory(file)
  return names
    .filter((name) => name.endsWith(".ndjson"))
    .sort()
    .map((name) => path.join(file, name))
    .map((path): Source => ({ path, name: path }))
})

/** The command. `import` is a word of the language. */
export const importRows = Command.make(
  "import",
  {
    file: Argument.String("file").pipe(
      Argument.withDescription("The file of an export; - is the standard input. With --all a folder of them")
    ),
    ...connection,
    tenant: Flag.String("tenant").pipe(
      Flag.withAlias("t"),
      Flag.withDescription("The tenant; the one that was exported unless given"),
      Flag.optional
    ),
    all: Flag.Boolean("all").pipe(
      Flag.withDescription("Import each file of a folder into the tenant that it names"),
      Flag.withDefault(false)
    ),
    onConflict,
    again,
    incomplete: Flag.Boolean("incomplete").pipe(
      Flag.withDescription("Import a file whose export was cut"),
      Flag.withDefault(false)
    )
  },
  ({ again, all, file, incomplete, onConflict, tenant, ...connection }) =>
    Effect.gen(function* () {
      if (all && Option.isSome(tenant)) {
        return yield* new CommandFailed({ message: "with --all each file is imported into the tenant that it names" })
      }
      const call = yield* connect(connection)
      const description = yield* repeatable(call("describe", undefined))
      for (const source of yield* filesOf(file, all)) {
        const inspected = yield* inspect(source)
        const { name } = source
        const { footer, header } = inspected
        if (header === undefined) {
          return yield* new CommandFailed({
            message: `${name} is not an export; dormouse seed takes lines of rows alone`
          })
        }
        if (footer === undefined && !incomplete) {
          return yield* new CommandFailed({
            message: `${name} is not complete: go on with dormouse export --resume, or import it with --incomplete`
          })
        }
        const different = differences(header.tables, description.tables)
        if (different.length > 0) return yield* new CommandFailed({ message: `${name}: ${different.join("; ")}` })
        if (footer?.isSnapshot === false) yield* note(`${name}: something was written while it was exported\n`)
        const target = Option.getOrElse(tenant, () => header.tenant)
        yield* transfer({
          call,
          description,
          tenant: target,
          source,
          inspected,
          onConflict,
          isSeed: false,
          again
        })
      }
    }).pipe(Effect.scoped, runCommand)
).pipe(
  Command.withDescription(
    "Import the rows of an export. Policies do not apply. A command that was cut goes on where it stopped when it is repeated."
  ),
  Command.withShortDescription("Import the rows of an export"),
  Command.withExamples([
    { command: "dormouse import backup.ndjson", description: "Into the tenant that was exported" },
    { command: "dormouse import backup.ndjson --tenant copy --on-conflict skip", description: "Into another one" },
    { command: "dormouse import --all backups", description: "All files of a folder" },
    { command: "gunzip -c main.ndjson.gz | dormouse import -", description: "From the standard input" }
  ])
)
