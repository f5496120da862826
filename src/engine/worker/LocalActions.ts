/**
 * Runs the actions of an HTTP body where the gateway runs: for a platform that does not end a request which has hung.
 * Cloudflare runs them in a request of their own (`CollectedActions.ts`).
 */
import * as Effect from "effect/Effect"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import type { App } from "../../contract/App.ts"
import { encodeMessage } from "../rpc/RpcTransport.ts"
import type { ActionRunner } from "./ActionRunner.ts"
import type { GatewayHost } from "./Gateway.ts"

/** Runs the actions of an app, and returns the texts of their messages. */
export const runLocally =
  (
    { limits }: Pick<App<any>, "limits">,
    host: Pick<GatewayHost, "actions" | "object" | "run" | "waitUntil">
  ): GatewayHost["runApart"] =>
  async (requests, session, signal) => {
    const runner: ActionRunner = await host.actions()
    const object = host.object(session.object ?? session.tenant)
    const running = runner.run({ requests, session, object, resultBytes: limits.resultBytes })
    const answers = await whileConnected(host, signal, running)
    return answers.map((message) => encodeMessage(message, limits))
  }

/**
 * Runs actions until they end or their caller has disconnected. They are interrupted then, and nobody reads the answer.
 * `waitUntil` waits until their finalizers have run.
 */
const whileConnected = (
  host: Pick<GatewayHost, "run" | "waitUntil">,
  signal: AbortSignal,
  actions: Effect.Effect<ReadonlyArray<FromServerEncoded>>
): Promise<ReadonlyArray<FromServerEncoded>> => {
  const disconnected = Effect.callback<ReadonlyArray<FromServerEncoded>>((resume) => {
    const disconnect = () => resume(Effect.succeed([]))
    if (signal.aborted) disconnect()
    else signal.addEventListener("abort", disconnect, { once: true })
  })
  const running = host.run(Effect.raceFirst(actions, disconnected))
  signal.addEventListener("abort", () => host.waitUntil(running), { once: true })
  return running
}
