/**
 * `dormouse tenants`: lists and changes the tenants of a deployment with a registry.
 * A deletion must be confirmed, because nothing brings a tenant back.
 */

import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { NoRegistry } from "../../admin/AdminApi.ts"
import type { AdminClient } from "../../admin/AdminClient.ts"
import type { Tenant } from "../../system/TenantsApi.ts"
import { CommandFailed, checkTenant, connect, connection, note, print, repeatable, runCommand } from "./Shared.ts"
import * as TextTable from "./TextTable.ts"

/** Tenants of one page. */
const size = 500

/** All tenants of the registry, in the order of their names. */
export const all = Effect.fnUntraced(function* (call: AdminClient) {
  const tenants: Array<Tenant> = []
  let after: string | null = null
  do {
    const page: { readonly items: ReadonlyArray<Tenant>; readonly next: string | null } = yield* repeatable(
      call("tenants.list", { size, after })
    )
    tenants.push(...page.items)
    after = page.next
  } while (after !== null)
  return tenants
})

/** The tenants that a list of names says, or all active ones of the registry. */
export const chosen = Effect.fnUntraced(function* (call: AdminClient, names: Option.Option<string>) {
  if (Option.isSome(names)) return names.value.split(",").map((name) => name.trim())
  const listed = yield* Effect.catchIf(
    all(call),
    (error) => error instanceof NoRegistry,
    () => new CommandFailed({ message: "the app has no registry of tenants: name them with --tenants a,b,c" })
  )
  // Nobody can read a tenant that is suspended.
  return listed.filter(({ state }) => state === "active").map(({ name }) => name)
})

const list = Command.make(
  "list",
  {
    ...connection,
    json: Flag.Boolean("json").pipe(
      Flag.withDescription("Print a line of JSON for each tenant"),
      Flag.withDefault(false)
    )
  },
  ({ json, ...connection }) =>
    Effect.gen(function* () {
      const tenants = yield* all(yield* connect(connection))
      if (json) return yield* print(tenants.map((tenant) => `${JSON.stringify(tenant)}\n`).join(""))
      const rows = tenants.map(({ bytes, createdAt, lastUse, name, object, state }) => [
        name,
        state,
        DateTime.formatIso(createdAt),
        lastUse === null ? null : DateTime.formatIso(DateTime.makeUnsafe(lastUse)),
        bytes,
        object
      ])
      const lines = TextTable.lines(["name", "state", "created", "last use", "bytes", "object"], rows)
      yield* print(`${lines.join("\n")}\n`)
    }).pipe(Effect.scoped, runCommand)
).pipe(Command.withDescription("List the tenants of the registry."))

const name = Argument.String("name").pipe(Argument.withDescription("The name of the tenant"))

const change = (to: "create" | "suspend" | "resume", done: string, description: string) =>
  Command.make(to, { name, ...connection }, ({ name, ...connection }) =>
    Effect.gen(function* () {
      const call = yield* connect(connection)
      yield* checkTenant(name)
      const changes = {
        create: call("tenants.create", { tenant: name }),
        suspend: call("tenants.suspend", { tenant: name }),
        resume: call("tenants.resume", { tenant: name })
      }
      yield* changes[to]
      yield* note(`tenant ${name} is ${done}\n`)
    }).pipe(Effect.scoped, runCommand)
  ).pipe(Command.withDescription(description))

const remove = Command.make(
  "delete",
  {
    name,
    ...connection,
    yes: Flag.Boolean("yes").pipe(
      Flag.withDescription("Delete it with everything that it stores"),
      Flag.withDefault(false)
    )
  },
  ({ name, yes, ...connection }) =>
    Effect.gen(function* () {
      if (!yes) {
        return yield* new CommandFailed({
          message: `this deletes everything that ${name} stores: export it first, then repeat the command with --yes`
        })
      }
      const call = yield* connect(connection)
      yield* checkTenant(name)
      yield* call("tenants.delete", { tenant: name })
      yield* note(`tenant ${name} is deleted\n`)
    }).pipe(Effect.scoped, runCommand)
).pipe(Command.withDescription("Delete a tenant with everything that it stores."))

/** The command. */
export const tenants = Command.make("tenants").pipe(
  Command.withDescription("List, create, suspend, resume and delete tenants, in an app with a registry of tenants."),
  Command.withShortDescription("List and change tenants"),
  Command.withSubcommands([
    list,
    change("create", "created", "Create an empty tenant."),
    change("suspend", "suspended", "Close the sockets of a tenant and refuse its callers."),
    change("resume", "active", "Let the callers of a suspended tenant in again."),
    remove
  ])
)
