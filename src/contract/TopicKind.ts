/**
 * The kind of topics: an app without topics does not bundle it.
 * See `Kind.ts`.
 */
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import { CallError } from "../protocol/CallError.ts"
import { kindPrefix, type QueryServices } from "./KindServices.ts"

/** Marks a topic: a stream of messages. Its handler decides who may read it, and reads as that of a query does. */
export class TopicKind extends RpcMiddleware.Service<TopicKind, { provides: QueryServices }>()(`${kindPrefix}Topic`, {
  error: CallError
}) {}
