/**
 * The bindings of a Worker as a service, and the `ConfigProvider` that reads its variables and secrets.
 */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"

/** The `env` that Cloudflare gives to Worker and object: bindings, variables, secrets. Empty outside of them. */
export const WorkerEnv: Context.Reference<Readonly<Record<string, unknown>>> = Context.Reference<
  Readonly<Record<string, unknown>>
>("effect-dormouse/WorkerEnv", { defaultValue: () => ({}) })

/** The services that come from an `env`: `WorkerEnv`, and a `ConfigProvider` of its texts. */
export const contextOf = (env: Readonly<Record<string, unknown>>): Context.Context<never> =>
  Context.make(WorkerEnv, env).pipe(
    Context.add(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(textsOf(env)))
  )

/** Variables and secrets are texts or JSON; bindings are objects with methods, and no configuration. */
const textsOf = (env: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(env).filter(([, value]) => isPlain(value)))

const isPlain = (value: unknown): boolean =>
  typeof value !== "object" || value === null
    ? typeof value !== "function"
    : Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype
