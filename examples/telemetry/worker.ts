import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Otlp from "effect/observability/Otlp"
import * as OtlpExporter from "effect/observability/OtlpExporter"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { app } from "../minimal/app.ts"

/** Sends spans, log lines and metrics to the OpenTelemetry collector at the variable OTLP_URL. */
const Telemetry = Layer.unwrap(
  Effect.map(Config.String("OTLP_URL"), (baseUrl) =>
    Otlp.layerJson({
      baseUrl,
      resource: { serviceName: "chat" },
      // A timer would keep objects from hibernating: `flush` exports instead.
      tracerExportInterval: Duration.infinity,
      loggerExportInterval: Duration.infinity,
      metricsExportInterval: Duration.infinity
    })
  )
).pipe(Layer.provide(FetchHttpClient.layer), Layer.orDie)

export const { TenantObject, worker } = Cloudflare.serve(app, {
  layer: Telemetry,
  flush: OtlpExporter.Flusher.use(({ flush }) => flush)
})
export default worker
