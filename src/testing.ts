/**
 * Runs an app's whole backend in memory, for tests.
 * The engine is the one that runs on Cloudflare; network, commits and heaps are under the test's control.
 */
export { type Fate, MemoryBroker, type MemoryBrokerOptions } from "./layers/memory/Broker.ts"
export { TestApp, type TestAppOptions } from "./testing/TestApp.ts"
