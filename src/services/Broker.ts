/**
 * The port to what carries the messages of queues from objects to the Workers that handle them.
 * The rows of the outbox are the truth: what is carried says only which call of which object is to begin.
 */
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import type { App } from "../contract/App.ts"
import type { Broker, CarriedCall } from "../contract/Jobs.ts"

export type { Broker, CarriedCall } from "../contract/Jobs.ts"

/** What is carried of a call, as it is read. */
const Carried = Schema.Struct({
  tenant: Schema.String,
  object: Schema.optionalKey(Schema.String),
  queue: Schema.String,
  call: Schema.String
})
const decode = Schema.decodeUnknownOption(Carried)

/** Reads what a broker has delivered. `undefined` when it is none of our calls. */
export const readCall = (body: unknown): CarriedCall | undefined => Option.getOrUndefined(decode(body))

/** An app some of whose queues are carried by a broker. Throws when it has no queue of such a name. */
export const carriedBy = <Rpcs extends Rpc.Any, S, A, M>(
  app: App<Rpcs, S, A, M>,
  broker: Broker
): App<Rpcs, S, A, M> => {
  const { jobs } = app
  const names = new Set(jobs?.queues.map(({ name }) => name))
  for (const name of broker.queues) if (!names.has(name)) throw new Error(`the app has no queue ${name}`)
  return jobs === undefined
    ? app
    : { ...app, jobs: { ...jobs, open: (host, _broker, more) => jobs.open(host, broker, more) } }
}
