/**
 * Topics and presence of a client as atoms of `effect/reactivity`, beside those of its queries and mutations.
 * In a module of its own: a page without topics does not bundle it.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as AsyncResult from "effect/reactivity/AsyncResult"
import * as Atom from "effect/reactivity/Atom"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { PublicTagOf } from "../contract/Api.ts"
import type { Presence } from "../contract/Presence.ts"
import type { Atoms } from "./Atoms.ts"
import type { Client } from "./ClientTypes.ts"
import * as Topics from "./Topics.ts"

type KeyOf<Rpcs extends Rpc.Any, Tag extends string> = Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>

/** The atoms of a contract's topics. */
export interface TopicAtoms<in out Rpcs extends Rpc.Any, out E = never> {
  /**
   * The latest item of a topic since the atom was mounted. The same tag and an equal key return the same atom. Items that
   * arrive together are written to the atom one after the other; a component may render the last of them only.
   */
  readonly latest: <Tag extends PublicTagOf<Rpcs, "topic">>(
    tag: Tag,
    key: KeyOf<Rpcs, Tag>
  ) => Atom.Atom<AsyncResult.AsyncResult<Topics.ItemOf<Rpcs, Tag>, Topics.FailureOf<Rpcs, Tag> | E>>
  /**
   * What a function makes of all items since the atom was mounted, such as a list of the last hundred. Call it once, outside
   * of components, and the result with each key: an equal key returns the same atom.
   */
  readonly reduce: <Tag extends PublicTagOf<Rpcs, "topic">, A>(
    tag: Tag,
    initial: A,
    add: (value: A, item: Topics.ItemOf<Rpcs, Tag>) => A
  ) => (key: KeyOf<Rpcs, Tag>) => Atom.Atom<AsyncResult.AsyncResult<A, Topics.FailureOf<Rpcs, Tag> | E>>
  /**
   * Is present while the atom is mounted, with the state that another atom has. Its value is how the caller was refused; until
   * then it is waiting. The peers are the value of the query: `atoms.live(Here.tag, key)`. Call it once, outside of components,
   * and the result with each key: an equal key returns the same atom.
   */
  readonly presence: <Tag extends string, Key extends Schema.Top, State extends Schema.Top>(
    presence: Presence<Tag, Key, State, any> & Topics.Declares<Rpcs, `${NoInfer<Tag>}.join`>,
    state: Atom.Atom<State["~type.make.in"]>
  ) => (
    key: Key["~type.make.in"]
  ) => Atom.Atom<AsyncResult.AsyncResult<never, Topics.FailureOf<Rpcs, `${Tag}.join`> | E>>
}

/** Makes the atoms of a contract's topics from those of `Atoms.make`, whose client they use. */
export const make = <Rpcs extends Rpc.Any, E>({ client }: Atoms<Rpcs, E>): TopicAtoms<Rpcs, E> => {
  /** An atom with what `run` shows with the client while it is mounted, and with how `run` failed. */
  const running = <A>(
    initial: Option.Option<A>,
    run: (client: Client<any>, show: (value: A) => void, get: Atom.AtomContext) => Effect.Effect<void, any>
  ): Atom.Atom<AsyncResult.AsyncResult<A, any>> =>
    Atom.readable((get: Atom.AtomContext): AsyncResult.AsyncResult<A, any> => {
      const made = get(client)
      if (!AsyncResult.isSuccess(made)) return AsyncResult.isFailure(made) ? AsyncResult.failure(made.cause) : waiting
      let value = initial
      let failure: Cause.Cause<any> | undefined
      const result = () => {
        const previousSuccess = Option.map(value, (value) => AsyncResult.success<A, any>(value))
        if (failure !== undefined) return AsyncResult.failure<A, any>(failure, { previousSuccess })
        return Option.getOrElse(previousSuccess, () => waiting)
      }
      const show = (next: A) => {
        value = Option.some(next)
        get.setSelf(result())
      }
      const fiber = Effect.runFork(run(made.value, show, get))
      let isMounted = true
      get.addFinalizer(() => {
        isMounted = false
        fiber.interruptUnsafe()
      })
      fiber.addObserver((exit) => {
        if (!isMounted || Exit.isSuccess(exit)) return
        failure = exit.cause
        get.setSelf(result())
      })
      return result()
    })

  const items = (tag: string, add: (value: any, item: any) => any, initial: Option.Option<any>) =>
    Atom.family((key: unknown) =>
      running(initial, (client, show) => {
        let value = Option.getOrUndefined(initial)
        const each = (item: any) =>
          Effect.sync(() => {
            value = add(value, item)
            show(value)
          })
        return Stream.runForEach(Topics.lasting(client, tag, key), each)
      })
    )
  const latest = Atom.family((tag: string) => items(tag, (_, item) => item, Option.none()))

  const presence = (presence: any, state: Atom.Atom<any>) =>
    Atom.family((key: unknown) =>
      running<never>(Option.none(), (client, _, get) =>
        Effect.flatMap(Queue.sliding<unknown>(1), (states) => {
          get.subscribe(state, (state) => Queue.offerUnsafe(states, state), { immediate: true })
          return Topics.join<any, any, any, any>(client, presence, key, Stream.fromQueue(states))
        })
      )
    )

  // The functions above work for any contract; the type gives each tag the types of its rpc.
  return {
    latest: (tag, key) => latest(tag)(key),
    reduce: (tag, initial, add) => items(tag, add, Option.some(initial)),
    presence
  }
}

const waiting = AsyncResult.initial<never, never>(true)
