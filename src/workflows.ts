/**
 * Workflows of Effect on the storage of a tenant: durable executions of activities, clocks and deferreds.
 * `Workflows.make` gives them to an app; the workflows themselves are written with `effect/workflow`.
 */
export * as WorkflowsAdmin from "./contract/WorkflowsAdmin.ts"
export * as Workflows from "./services/Workflows.ts"
