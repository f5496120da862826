/// <reference types="@cloudflare/vitest-plugin/types" />

declare namespace Cloudflare {
  interface Env {
    readonly TENANT_OBJECT: DurableObjectNamespace
    readonly PROBE: DurableObjectNamespace
  }
}
