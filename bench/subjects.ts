/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import * as wire from "./wire.ts"

/** A backend under test: where it is, what it exports, and how it is spoken to. */
export interface Subject {
  readonly name: string
  readonly entry: string
  /** The name under which the worker exports its Durable Object. */
  readonly object: string
  readonly bindings: Readonly<Record<string, "object" | "kv" | "r2" | { readonly text: string }>>
  readonly wire: wire.Wire
  /** Whether anyone may open a tenant of any name, which some workloads need. */
  readonly openTenants: boolean
  /** Runs in Node instead of workerd: it has no object and no bindings. */
  readonly isNode?: true
}

const pathOf = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url))

/** What the others are measured against. */
export const handwritten: Subject = {
  name: "hand-written",
  entry: pathOf("handwritten.ts"),
  object: "TenantObject",
  bindings: { TENANTS: "object" },
  wire: wire.rpcWithoutAck,
  openTenants: true
}

/** The same worker with group commit. */
export const grouped: Subject = { ...handwritten, name: "grouped", entry: pathOf("handwrittenGrouped.ts") }

/** The same worker a second time: how far its numbers are from the first is the noise. */
export const copyOf = (subject: Subject): Subject => ({ ...subject, name: "copy" })

export const dormouse: Subject = {
  name: "dormouse",
  entry: pathOf("../examples/minimal/worker.ts"),
  object: "TenantObject",
  bindings: {},
  wire: wire.rpc,
  openTenants: true
}

export const pramen: Subject = {
  name: "pramen",
  entry: pathOf("pramen.ts"),
  object: "PramenDO",
  bindings: { PRAMEN: "object", KV: "kv", FILES: "r2", AUTH_SECRET: { text: "a secret that nothing is signed with" } },
  wire: wire.pramen,
  openTenants: false
}
