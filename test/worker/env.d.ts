/// <reference types="@cloudflare/vitest-plugin/types" />

declare namespace Cloudflare {
  interface Env {
    readonly TENANT_OBJECT: DurableObjectNamespace
    readonly TASKS: Queue
    readonly FILES: R2Bucket
    readonly PROBE: DurableObjectNamespace
    readonly PINGED: DurableObjectNamespace
    readonly RESTLESS: DurableObjectNamespace
    readonly DYING: DurableObjectNamespace
    readonly LIMITED: DurableObjectNamespace
    readonly LISTS: DurableObjectNamespace
    readonly JOBS: DurableObjectNamespace
    readonly MARKS: DurableObjectNamespace
    readonly GUARDED: DurableObjectNamespace
    readonly LEDGER: DurableObjectNamespace
    readonly SMALL_DOORS: DurableObjectNamespace
    readonly OPEN_DOORS: DurableObjectNamespace
    readonly TELEMETRY: DurableObjectNamespace
    readonly NOTES: DurableObjectNamespace<import("../../examples/embed/object.ts").NotesObject>
  }
}
