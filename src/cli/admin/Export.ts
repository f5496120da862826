/**
 * `dormouse export`: the rows of a tenant, or of all, as files of NDJSON.
 * An export that was cut goes on where its file ends.
 */

import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import type { Description, ExportPage } from "../../admin/AdminApi.ts"
import type { AdminClient } from "../../admin/AdminClient.ts"
import { Checksum, type Footer, type Header, readPartial } from "./ExportFormat.ts"
import * as Progress from "./Progress.ts"
import {
  CommandFailed,
  checkTenant,
  connect,
  connection,
  note,
  print,
  repeatable,
  runCommand,
  tenant
} from "./Shared.ts"
import { chosen } from "./Tenants.ts"

/** What is exported to where. */
interface Job {
  readonly call: AdminClient
  readonly description: Description
  readonly tenant: string
  /** The path of the file; `-` for the standard output. */
  readonly file: string
  readonly resume: boolean
  readonly force: boolean
}

const encoder = new TextEncoder()

/** Opens the file of an export: a new one, or one that was cut, behind its last complete line. */
const open = Effect.fnUntraced(function* ({ description, file, force, resume, tenant }: Job) {
  if (file === "-") return { write: print, sync: Effect.void, partial: undefined }
  const fs = yield* FileSystem.FileSystem
  const isThere = yield* fs.exists(file)
  if (isThere && !resume && !force) {
    return yield* new CommandFailed({ message: `${file} exists: --resume goes on with it, --force replaces it` })
  }
  const partial = isThere && resume ? yield* readPartial(file) : undefined
  if (partial !== undefined) {
    const { header } = partial
    if (header.tenant !== tenant) {
      return yield* new CommandFailed({ message: `${file} is an export of tenant ${header.tenant}` })
    }
    if (JSON.stringify(header.tables) !== JSON.stringify(description.tables)) {
      return yield* new CommandFailed({
        message: `the tables have changed since ${file} was begun: begin anew with --force`
      })
    }
    if (!partial.isComplete) yield* fs.truncate(file, partial.bytes)
  }
  const handle = yield* fs.open(file, { flag: partial === undefined ? "w" : "a" })
  return { write: (text: string) => handle.writeAll(encoder.encode(text)), sync: handle.sync, partial }
})

/** Exports one tenant. */
const exportTenant = Effect.fnUntraced(function* (job: Job) {
  const { call, description, file } = job
  const tenant = yield* checkTenant(job.tenant)
  const { partial, sync, write } = yield* open(job)
  if (partial?.isComplete) return yield* note(`${file} is complete\n`)
  const checksum = partial?.checksum ?? new Checksum()
  const rows: Record<string, number> = { ...partial?.rows }
  const put = (text: string) => {
    checksum.text(text)
    return write(text)
  }
  const progress = yield* Progress.make(tenant)
  let page: ExportPage = yield* repeatable(call("export", { tenant, cursor: partial?.cursor ?? null }))
  const version = partial?.header.version ?? page.version
  if (partial === undefined) {
    const header: Header = { dormouse: "export", format: 1, tenant, tables: description.tables, version }
    yield* put(`${JSON.stringify(header)}\n`)
  }
  for (;;) {
    if (page.lines !== "") yield* put(page.lines)
    for (const [table, count] of Object.entries(page.tables)) rows[table] = (rows[table] ?? 0) + count
    yield* progress.add(page.rows, Object.keys(page.tables).at(-1) ?? "")
    if (page.cursor === null) break
    page = yield* repeatable(call("export", { tenant, cursor: page.cursor }))
  }
  const total = Object.values(rows).reduce((sum, count) => sum + count, 0)
  const isSnapshot = page.version === version
  const footer: Footer = { end: true, rows: total, tables: rows, isSnapshot, sha256: checksum.hex }
  yield* write(`${JSON.stringify(footer)}\n`)
  yield* sync
  yield* progress.end
  if (!isSnapshot) {
    yield* note(`${tenant}: something was written meanwhile; a row that changed is in the file as it was or as it is\n`)
  }
}, Effect.scoped)

/** The command. `export` is a word of the language. */
export const exportRows = Command.make(
  "export",
  {
    file: Argument.String("file").pipe(
      Argument.withDescription("The file, <tenant>.ndjson unless given; - is the standard output. With --all a folder"),
      Argument.optional
    ),
    ...connection,
    tenant,
    all: Flag.Boolean("all").pipe(
      Flag.withDescription("Export all active tenants, each to <tenant>.ndjson in a folder"),
      Flag.withDefault(false)
    ),
    tenants: Flag.String("tenants").pipe(
      Flag.withDescription("With --all, the tenants by name: for an app without a registry"),
      Flag.optional
    ),
    resume: Flag.Boolean("resume").pipe(
      Flag.withDescription("Go on with a file whose export was cut"),
      Flag.withDefault(false)
    ),
    force: Flag.Boolean("force").pipe(Flag.withDescription("Replace a file that is there"), Flag.withDefault(false))
  },
  ({ all, file, force, resume, tenant, tenants, ...connection }) =>
    Effect.gen(function* () {
      const call = yield* connect(connection)
      const description = yield* repeatable(call("describe", undefined))
      const options = { call, description, resume, force }
      if (!all) {
        return yield* exportTenant({ ...options, tenant, file: Option.getOrElse(file, () => `${tenant}.ndjson`) })
      }
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const folder = Option.getOrElse(file, () => "export")
      if (folder === "-") return yield* new CommandFailed({ message: "all tenants do not fit one file: name a folder" })
      const names = yield* chosen(call, tenants)
      yield* fs.makeDirectory(folder, { recursive: true })
      for (const name of names) {
        yield* exportTenant({ ...options, tenant: name, file: path.join(folder, `${name}.ndjson`) })
      }
      yield* note(`${names.length} ${names.length === 1 ? "tenant" : "tenants"} in ${folder}\n`)
    }).pipe(Effect.scoped, runCommand)
).pipe(
  Command.withDescription(
    "Write the rows of all tables of a tenant to a file of NDJSON: a header, a line for each row, and a line with counts and a checksum."
  ),
  Command.withShortDescription("Write the rows of a tenant, or of all, to files"),
  Command.withExamples([
    { command: "dormouse export backup.ndjson --tenant acme", description: "Export a tenant" },
    { command: "dormouse export backup.ndjson --tenant acme --resume", description: "Go on after it was cut" },
    { command: "dormouse export --all backups", description: "Export all tenants of the registry" },
    { command: "dormouse export - | gzip > main.ndjson.gz", description: "Write to the standard output" }
  ])
)
