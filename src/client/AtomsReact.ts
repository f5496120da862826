/**
 * Atoms of `effect/reactivity` in React components, over an `AtomRegistry` and `useSyncExternalStore`.
 * For the atoms of `effect-dormouse/atoms` and for any others.
 */
import * as Cause from "effect/Cause"
import * as AsyncResult from "effect/reactivity/AsyncResult"
import * as Atom from "effect/reactivity/Atom"
import * as AtomRegistry from "effect/reactivity/AtomRegistry"
import {
  createContext,
  createElement,
  type ReactNode,
  use,
  useCallback,
  useContext,
  useEffect,
  useState,
  useSyncExternalStore
} from "react"
import { noWait, useIsServer } from "./Suspense.ts"

/**
 * Milliseconds for which an atom, and the registry of a provider, stay after their last component was unmounted: StrictMode
 * mounts twice, and a suspended component is mounted only after its value has arrived.
 */
const releaseDelay = 1000

/** Milliseconds within which React has shown an error boundary, and in how many steps they pass. */
const throwDelay = 50
const throwSteps = 5

/** Props of `RegistryProvider`. */
export interface RegistryProviderProps {
  /** A registry that is made and disposed of elsewhere. Without one the provider has its own, while it is mounted. */
  readonly registry?: AtomRegistry.AtomRegistry
  /** Values with which atoms begin in the provider's own registry. */
  readonly initialValues?: Iterable<readonly [Atom.Atom<any>, any]>
  readonly children?: ReactNode
}

const Current = createContext<AtomRegistry.AtomRegistry | undefined>(undefined)

/**
 * Provides a registry to the components below it. Each request that a server renders has a provider of its own. A `Suspense`
 * for components that wait belongs below it: React discards the state of what is above.
 */
export const RegistryProvider = ({ children, initialValues, registry }: RegistryProviderProps): ReactNode => {
  const make = () => new OwnRegistry(initialValues)
  const [own, setOwn] = useState(make)
  // biome-ignore lint/correctness/useExhaustiveDependencies: values are those of the first render
  useEffect(() => {
    // React may hide a component and show it again: its registry is gone by then.
    if (own.isDisposed) return setOwn(make())
    return own.retain()
  }, [own])
  return createElement(Current.Provider, { value: registry ?? own.registry }, children)
}

/** The registry of a provider. Making one has no effect. */
class OwnRegistry {
  readonly registry: AtomRegistry.AtomRegistry
  isDisposed = false
  private timer: ReturnType<typeof setTimeout> | undefined

  constructor(initialValues: RegistryProviderProps["initialValues"]) {
    this.registry = AtomRegistry.make({ initialValues, defaultIdleTTL: releaseDelay })
  }

  /** Keeps it until the returned function is called, and a moment longer. */
  retain(): () => void {
    if (this.timer !== undefined) clearTimeout(this.timer)
    return () => {
      this.timer = setTimeout(() => {
        this.isDisposed = true
        this.registry.dispose()
      }, releaseDelay)
    }
  }
}

/** The registry of the provider above. */
export const useRegistry = (): AtomRegistry.AtomRegistry => {
  const registry = useContext(Current)
  if (registry === undefined) throw new Error("there is no RegistryProvider above this component")
  return registry
}

/** The value of an atom, which is mounted while the component is. A server renders the atom's value for servers, if it has one. */
export const useAtomValue = <A>(atom: Atom.Atom<A>): A => {
  const registry = useRegistry()
  const listen = useCallback((listener: () => void) => registry.subscribe(atom, listener), [registry, atom])
  return useSyncExternalStore(
    listen,
    () => registry.get(atom),
    () => Atom.getServerValue(atom, registry)
  )
}

/** Writes to an atom: a value, or a function of the atom's present value. */
export type SetAtom<R, W> = (value: W | ((current: R) => W)) => void

/** The function that writes to an atom, the same in every render. The atom is mounted while the component is. */
export const useAtomSet = <R, W>(atom: Atom.Writable<R, W>): SetAtom<R, W> => {
  const registry = useRegistry()
  useAtomMount(atom)
  return useCallback(
    (value) => {
      if (isUpdate(value)) registry.update(atom, value)
      else registry.set(atom, value)
    },
    [registry, atom]
  )
}

/** The value of an atom, and the function that writes to it. */
export const useAtom = <R, W>(atom: Atom.Writable<R, W>): readonly [value: R, set: SetAtom<R, W>] => [
  useAtomValue(atom),
  useAtomSet(atom)
]

/** Mounts an atom while the component is mounted. */
export const useAtomMount = (atom: Atom.Atom<unknown>): void => {
  const registry = useRegistry()
  useEffect(() => registry.mount(atom), [registry, atom])
}

/** The function that has an atom computed again, the same in every render. */
export const useAtomRefresh = (atom: Atom.Atom<unknown>): (() => void) => {
  const registry = useRegistry()
  return useCallback(() => registry.refresh(atom), [registry, atom])
}

/**
 * The success of an atom. Suspends until there is a first result, also while a server renders. A failure is thrown to the
 * nearest error boundary, as the error or the defect that it is; rendering the boundary's children again retries.
 */
export const useAtomSuspense = <A, E>(atom: Atom.Atom<AsyncResult.AsyncResult<A, E>>): AsyncResult.Success<A, E> => {
  const registry = useRegistry()
  let result = useAtomValue(atom)
  const isServer = useIsServer()
  // React requires `use` of every render that follows one that was suspended by it.
  if (isOver(result)) use(waits.get(registry)?.get(atom)?.promise ?? noWait)
  // With this error React sends the fallback, and the browser renders the value.
  else if (isServer) throw new Error("an atom without a value is not read while a server renders")
  while (!isOver(result)) {
    use(firstOf(registry, atom))
    result = registry.get(atom)
  }
  if (AsyncResult.isSuccess(result)) return result
  const { cause } = result
  // Later, because React renders a component that throws a second time before it looks for a boundary.
  markThrown(cause)
  throw Cause.squash(cause)
}

type Over<A, E> = AsyncResult.Success<A, E> | AsyncResult.Failure<A, E>

/** Causes of failures that were thrown to an error boundary. Whoever reads one again retries. */
const thrown = new WeakSet<object>()

/** In steps, between which React renders: after one long delay a busy page would run the timer before the second render. */
const markThrown = (cause: object, steps = throwSteps): void => {
  const next = () => {
    if (steps > 1) markThrown(cause, steps - 1)
    else thrown.add(cause)
  }
  setTimeout(next, throwDelay / throwSteps)
}

const isOver = <A, E>(result: AsyncResult.AsyncResult<A, E>): result is Over<A, E> =>
  AsyncResult.isNotInitial(result) && !isThrown(result)

const isThrown = (result: AsyncResult.AsyncResult<unknown, unknown>): boolean =>
  AsyncResult.isFailure(result) && thrown.has(result.cause)

/** What suspended components wait for, by registry and atom. */
const waits = new WeakMap<AtomRegistry.AtomRegistry, WeakMap<Atom.Atom<any>, Wait>>()

interface Wait {
  readonly promise: Promise<void>
  isOver: boolean
}

/**
 * Resolves when an atom has its first result, and after a moment to look again: a suspended component is not mounted, so it
 * cannot say that it is gone.
 */
const firstOf = (
  registry: AtomRegistry.AtomRegistry,
  atom: Atom.Atom<AsyncResult.AsyncResult<any, any>>
): Promise<void> => {
  const ofRegistry = waits.get(registry) ?? new WeakMap<Atom.Atom<any>, Wait>()
  waits.set(registry, ofRegistry)
  const before = ofRegistry.get(atom)
  if (before?.isOver === false) return before.promise
  // Not while React renders: other components may show the atom.
  const promise = Promise.resolve().then(() => {
    if (isThrown(registry.get(atom))) registry.refresh(atom)
    return new Promise<void>((resolve) => {
      const end = () => {
        clearTimeout(timer)
        wait.isOver = true
        unsubscribe()
        resolve()
      }
      const timer = setTimeout(end, releaseDelay)
      const unsubscribe = registry.subscribe(atom, (result) => {
        if (isOver(result)) end()
      })
      if (isOver(registry.get(atom))) end()
    })
  })
  // React expects the promise again when the component is rendered.
  const wait: Wait = { promise, isOver: false }
  ofRegistry.set(atom, wait)
  return promise
}

const isUpdate = <R, W>(value: W | ((current: R) => W)): value is (current: R) => W => typeof value === "function"
