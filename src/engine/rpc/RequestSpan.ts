/**
 * The span that a request carries: it continues one trace from the client to the Worker and the object.
 * Spans are made only for a tracer of the author's own.
 */
import * as Context from "effect/Context"
import * as Tracer from "effect/Tracer"
import type { Request } from "../../protocol/Messages.ts"

/** Whether there is a tracer of the author's own. Effect's default tracer makes spans that nothing exports. */
export const isTraced = (context: Context.Context<never>): boolean =>
  Context.get(context, Tracer.Tracer) !== Tracer.nativeTracer

/** The caller's span, of a request that carries one. */
export const parentOf = ({ sampled = true, spanId, traceId }: Request): Tracer.AnySpan | undefined =>
  traceId === undefined || spanId === undefined ? undefined : Tracer.externalSpan({ traceId, spanId, sampled })

/** The fields of a request that carry a span. */
export const spanFields = ({
  sampled,
  spanId,
  traceId
}: Tracer.AnySpan): Pick<Request, "traceId" | "spanId" | "sampled"> => ({ traceId, spanId, sampled })
