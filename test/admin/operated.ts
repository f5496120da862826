import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { AdminClient } from "effect-dormouse/admin"
import type { ObjectStub } from "../../src/engine/rpc/ObjectStub.ts"
import type { Deployment } from "../deployment/Deployment.ts"
import type { Random } from "../random.ts"
import { key } from "../worker/admin.ts"

/** A deployment that is operated by a key, in memory or in workerd. */
export interface OperatedDeployment extends Deployment {
  /** The object of a tenant, without the gateway. */
  readonly stub: (object: string) => Pick<ObjectStub, "call">
  /** The names of an object's tables. */
  readonly tables: (object: string) => Promise<ReadonlyArray<string>>
  /** Runs SQL in an object's database, as no app can. */
  readonly damage: (object: string, statement: string) => Promise<void>
  readonly close?: () => Promise<void>
}

/** `fetch` that reaches a deployment, whatever the host of the URL. */
export const fetchOf = (deployment: Pick<Deployment, "fetch">, more: Record<string, string> = {}) =>
  (async (input: string | URL | Request, init?: RequestInit) => {
    const url = new URL(input instanceof Request ? input.url : String(input))
    const headers = { ...Object.fromEntries(new Headers(init?.headers)), ...more }
    return deployment.fetch(url.pathname + url.search, { ...init, headers })
  }) as typeof globalThis.fetch

/** The typed client of a deployment. */
export const clientOf = (
  deployment: Pick<Deployment, "fetch">,
  options: { readonly key?: string; readonly headers?: Record<string, string> } = {}
) => {
  const http = FetchHttpClient.layer.pipe(
    Layer.provide(Layer.succeed(FetchHttpClient.Fetch, fetchOf(deployment, options.headers)))
  )
  const url = "http://dormouse.test"
  const call = (tag: any, payload: any) =>
    Effect.flatMap(AdminClient.make({ url, key: Redacted.make(options.key ?? key) }), (call) =>
      call(tag, payload)
    ).pipe(Effect.scoped, Effect.provide(http))
  return {
    /** The value of a call that succeeds. */
    done: async (tag: string, payload: unknown): Promise<any> => {
      const exit = await Effect.runPromiseExit(call(tag, payload))
      if (Exit.isSuccess(exit)) return exit.value
      throw new Error(`${tag}: ${Cause.pretty(exit.cause)}`)
    },
    /** The error of a call that fails. */
    refused: async (tag: string, payload: unknown): Promise<any> => {
      const exit = await Effect.runPromiseExit(call(tag, payload))
      if (Exit.isSuccess(exit)) throw new Error(`${tag} succeeded: ${JSON.stringify(exit.value)}`)
      return Option.getOrThrowWith(Cause.findErrorOption(exit.cause), () => new Error(Cause.pretty(exit.cause)))
    }
  }
}

export type Client = ReturnType<typeof clientOf>

/** All lines of an export, page after page. `between` runs after each page. */
export const exportOf = async (
  { done }: Client,
  tenant: string,
  between: (page: any) => Promise<void> = async () => {}
): Promise<ReadonlyArray<string>> => {
  const lines: Array<string> = []
  let cursor: string | null = null
  do {
    const page: any = await done("export", { tenant, cursor })
    lines.push(...page.lines.split("\n").slice(0, -1))
    cursor = page.cursor
    await between(page)
  } while (cursor !== null)
  return lines
}

/** One line of an import. */
export const lineOf = (table: string, row: object): string => JSON.stringify({ table, row })

/** Ends an import, as the commands do. */
export const finish = async ({ done }: Client, tenant: string, id: string): Promise<any> => {
  let before: number | null = null
  let settled = 0
  for (;;) {
    const step: any = await done("import.finish", { tenant, id, before, together: false })
    settled += step.settled
    before = step.next
    if (step.state.isDone) return step.state
    if (before !== null) continue
    if (settled === 0) return (await done("import.finish", { tenant, id, before: null, together: true })).state
    settled = 0
  }
}

/** Imports lines in batches of so many. */
export const importAll = async (
  client: Client,
  tenant: string,
  lines: ReadonlyArray<string>,
  { id = "all", onConflict = "fail", isSeed = false, size = 100 } = {}
): Promise<any> => {
  for (let after = 0; after < lines.length; after += size) {
    const batch = lines.slice(after, after + size).join("\n")
    await client.done("import.batch", { tenant, id, after, lines: batch, onConflict, isSeed })
  }
  return finish(client, tenant, id)
}

const texts = ["", "a", 'it\'s "quoted"\n', "\u0000\u2028", "żółw 🐢", "ｈ\\ \t", "NULL", "x".repeat(3000)]
const reals = [0, 1.5, -2.25e-300, 1.7976931348623157e308, "Infinity", "-Infinity", "NaN", 2 ** 53]
const bigs = ["0", "-1", "9007199254740993", "-123456789012345678901234567890", "7"]

const jsonOf = (random: Random, depth = 0): unknown => {
  const kind = random.int(depth > 2 ? 4 : 6)
  if (kind === 0) return null
  if (kind === 1) return random.chance(0.5)
  if (kind === 2) return random.pick([0, 1.5, -3])
  if (kind === 3) return random.pick(texts)
  if (kind === 4) return random.array(random.int(3), () => jsonOf(random, depth + 1))
  return Object.fromEntries(random.array(random.int(3), (i) => [`k${i}`, jsonOf(random, depth + 1)]))
}

const base64 = (random: Random): string =>
  btoa(String.fromCharCode(...random.array(random.int(6), () => random.int(256))))

/** Random rows of every table, as an export writes them, in the order of their tables and keys. */
export const randomRows = (random: Random, most: number): ReadonlyArray<readonly [table: string, row: any]> => {
  const people = random.array(random.int(most), (i) => ({
    id: `p${String(i).padStart(4, "0")}`,
    name: `name ${random.int(5)}`,
    email: random.chance(0.5) ? null : `${i}@example.org`,
    boss: null as string | null,
    role: random.pick(["member", "admin"]),
    createdAt: random.int(2 ** 40),
    changedAt: random.int(2 ** 40)
  }))
  // Of trees, of circles and of themselves.
  for (const person of people) if (random.chance(0.7)) person.boss = random.pick(people).id
  const things = random.array(random.int(most), (i) => ({
    id: i - 5,
    owner: people.length > 0 && random.chance(0.8) ? random.pick(people).id : null,
    text: random.pick(texts),
    flag: random.chance(0.5),
    real: random.pick(reals),
    big: random.pick(bigs),
    bytes: base64(random),
    at: random.int(2 ** 40),
    tags: random.array(random.int(3), () => random.pick(texts)),
    maybe: random.chance(0.5) ? null : random.int(100),
    ...(random.chance(0.5) && { note: random.pick(texts) }),
    ...(random.chance(0.6) && { either: random.chance(0.5) ? null : random.int(9) }),
    any: jsonOf(random),
    secret: random.pick(texts)
  }))
  const size = random.int(most)
  const keys = random.array(size, (i) => ({ id: btoa(String.fromCharCode(i >> 8, i & 255)), lock: String(i - 3) }))
  // Each refers to one of the others: circles of every length.
  const order = random.shuffle(keys)
  const locks = random.array(size, (i) => ({ id: String(i - 3), key: order[i]!.id }))
  const secrets = random.array(random.int(4), (i) => ({ id: `s${i}`, text: random.pick(texts) }))
  const posts = random.array(random.int(4), (i) => ({ id: `post${i}`, text: random.pick(texts) }))
  const named = { people, things, locks, keys, secrets, posts }
  return Object.entries(named).flatMap(([table, rows]) => rows.map((row) => [table, row] as const))
}

/** Lines in an order of their own, to compare two exports. */
export const sorted = (lines: ReadonlyArray<string>): ReadonlyArray<string> =>
  lines
    .map((line) => {
      const { row, table } = JSON.parse(line)
      return JSON.stringify([table, Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1))])
    })
    .sort()
