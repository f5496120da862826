/**
 * The bindings of a Worker as a service, and a `ConfigProvider` of its variables and secrets.
 * Both are in the context of everything that runs in the Worker and in the object.
 */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import { memoize } from "effect/Function"

/** The `env` of the Worker and of the object: bindings, variables and secrets. Empty on other platforms. */
export const WorkerEnv: Context.Reference<Readonly<Record<string, unknown>>> = Context.Reference<
  Readonly<Record<string, unknown>>
>("effect-dormouse/WorkerEnv", { defaultValue: () => ({}) })

/** The services made from an `env`: `WorkerEnv`, and a `ConfigProvider` of its variables and secrets. */
export const contextOf: (env: object) => Context.Context<never> = memoize((env) => {
  const bindings = { ...env }
  const configuration = ConfigProvider.fromUnknown(configurationOf(bindings))
  return Context.make(WorkerEnv, bindings).pipe(Context.add(ConfigProvider.ConfigProvider, configuration))
})

/** Variables and secrets are text or JSON. Bindings are objects with methods, and are not configuration. */
const configurationOf = (env: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(env).filter(([, value]) => isPlain(value)))

const isPlain = (value: unknown): boolean =>
  typeof value !== "object" || value === null
    ? typeof value !== "function"
    : Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype
