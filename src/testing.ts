/**
 * Runs an app's whole backend in memory, for tests.
 */
export { TestApp, type TestAppOptions } from "./testing/TestApp.ts"
