/**
 * What hooks can read, as queries of a store: live queries, lists of pages, and single calls.
 * Each says how it is opened, and what to show of a preloaded value before that.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { Declared } from "../contract/Api.ts"
import { ConnectionState } from "./ConnectionState.ts"
import { keyOf } from "./LiveValues.ts"
import { LoadedPages } from "./LoadedPages.ts"
import { type Preloaded, toInitialValue } from "./Preloaded.ts"
import type { Query, Shown } from "./ReactStore.ts"
import type { LiveState, PagesState, QueryState } from "./ReactTypes.ts"
import { codecOf } from "./UntypedClient.ts"

/** Preloaded values by the key of their query. */
export type Preloads = ReadonlyMap<string, Preloaded>

/** The key of a preloaded value: that of its query. */
export const preloadKey = ({ payload, tag }: Preloaded): string => keyOf(tag, payload)

/** The failure of a query: a typed error, or a defect, which the hook throws instead of returning the state. */
export const failureOf = (
  failure: Option.Option<Cause.Cause<any>>
): { readonly error: any; readonly thrown: { readonly defect: unknown } | undefined } => {
  if (Option.isNone(failure)) return { error: undefined, thrown: undefined }
  const error = Cause.findErrorOption(failure.value)
  return Option.isSome(error)
    ? { error: error.value, thrown: undefined }
    : { error: undefined, thrown: { defect: Cause.squash(failure.value) } }
}

/** What the hooks of one contract read. */
export class Queries {
  private readonly api: Declared<any>

  constructor(api: Declared<any>) {
    this.api = api
  }

  /** A live query. */
  readonly live = (tag: string, payload: unknown, find: FindPreloaded): Query<LiveState<any, any>> => {
    const [query, initialValue] = this.prepare("", tag, payload, find, (value) => ({ ...noLive, value }))
    return {
      ...query,
      open: (client, onChange, retry, isPreloaded) => {
        const observed = client.observe(tag, payload, onChange, isPreloaded ? initialValue() : undefined)
        return {
          read: () => {
            const { connection, isOptimistic, value, version } = observed.live()
            const state = { value: Option.getOrUndefined(value), isOptimistic, connection, retry }
            return shown(state, Option.isSome(value), observed.failure(), version)
          },
          isOver: () => Option.isSome(observed.failure()),
          end: observed.end
        }
      }
    }
  }

  /** A list of pages. Its first page can be preloaded. */
  readonly pages = (
    tag: string,
    { size, ...filters }: { readonly size: number },
    find: FindPreloaded
  ): Query<PagesState<any, any>> => {
    const first = { ...filters, size, after: null, until: null }
    const [query, initialValue] = this.prepare("pages ", tag, first, find, ({ items }) => ({
      ...noPages,
      items,
      isLoading: false
    }))
    return {
      ...query,
      open: (client, onChange, retry, isPreloaded) => {
        let initial = isPreloaded ? initialValue() : undefined
        const pages = new LoadedPages(
          {
            observe: (tag, payload, listener) => {
              const observed = client.observe(tag, payload, listener, initial)
              // Only the page that is requested first.
              initial = undefined
              return observed
            }
          },
          tag,
          { size, payload: (page) => ({ ...filters, ...page }) }
        )
        const unlisten = pages.listen(onChange)
        return {
          read: () => {
            const { failure, ...state } = pages.state()
            return shown({ ...state, loadMore: pages.loadMore, retry }, !state.isLoading, failure, pages.version())
          },
          isOver: () => Option.isSome(pages.state().failure),
          end: () => {
            unlisten()
            pages.end()
          }
        }
      }
    }
  }

  /** A call without a subscription. What was preloaded is its outcome. */
  readonly call = (tag: string, payload: unknown, find: FindPreloaded): Query<QueryState<any, any>> => {
    const [query, initialValue] = this.prepare("call ", tag, payload, find, (value) => ({
      ...noCall,
      value,
      isPending: false
    }))
    return {
      ...query,
      open: (client, onChange, _retry, isPreloaded) => {
        let value = (isPreloaded ? initialValue()?.base : undefined) ?? Option.none()
        let failure: Failure = Option.none()
        let running: Fiber.Fiber<unknown, unknown> | undefined
        const end = () => {
          const fiber = running
          running = undefined
          fiber?.interruptUnsafe()
        }
        const refetch = () => {
          end()
          const fiber = Effect.runFork(client.query(tag, payload))
          running = fiber
          onChange()
          fiber.addObserver((exit) => {
            if (running !== fiber) return
            running = undefined
            if (Exit.isSuccess(exit)) {
              value = Option.some(exit.value)
              failure = Option.none()
            } else failure = Option.some(exit.cause)
            onChange()
          })
        }
        if (Option.isNone(value)) refetch()
        return {
          read: () => {
            const state = { value: Option.getOrUndefined(value), isPending: running !== undefined, refetch }
            // What replaces it has no version: it is shown once.
            return shown(state, Option.isSome(value), failure, isPreloaded ? query.preloaded!.version + 1 : 0)
          },
          isOver: () => running === undefined && Option.isSome(failure),
          end
        }
      }
    }
  }

  /** A query but for `open`, and the preloaded value with which it can be opened. */
  private prepare<S>(
    prefix: string,
    tag: string,
    payload: unknown,
    find: FindPreloaded,
    show: (value: any) => Omit<S, "error">
  ) {
    const rpc = codecOf(this.api.declared, tag)
    const key = keyOf(tag, rpc.encodePayload(payload))
    const preloaded = find(key)
    const initialValue = () => preloaded && toInitialValue(rpc, preloaded)
    const initial = () => {
      const base = initialValue()?.base
      return base && shown<S>(show(Option.getOrUndefined(base)), true, Option.none())
    }
    return [{ key: prefix + key, preloaded, initial }, initialValue] as const
  }
}

type Failure = Option.Option<Cause.Cause<any>>

/** Finds what was preloaded of the query with this key. */
type FindPreloaded = (key: string) => Preloaded | undefined

/** A state with its failure, as the store has it. */
const shown = <S>(state: Omit<S, "error">, isReady: boolean, failure: Failure, version?: number): Shown<any> => {
  const { error, thrown } = failureOf(failure)
  return { state: { ...state, error }, thrown, isReady: isReady || Option.isSome(failure), version }
}

/** Does nothing, and takes whatever it is given. */
export const nothing = () => {}

/** A live query without a value. */
export const noLive: LiveState<any, any> = {
  value: undefined,
  isOptimistic: false,
  connection: ConnectionState.Idle(),
  error: undefined,
  retry: nothing
}

/** A call without an outcome. */
export const noCall: QueryState<any, any> = { value: undefined, error: undefined, isPending: true, refetch: nothing }

/** Pages of which none has arrived. */
export const noPages: PagesState<any, any> = {
  items: [],
  hasMore: false,
  isLoading: true,
  loadMore: nothing,
  connection: ConnectionState.Idle(),
  error: undefined,
  retry: nothing
}
