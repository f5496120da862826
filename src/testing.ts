/** A whole backend in memory, for tests. */
export { type Options, TestApp } from "./testing/TestApp.ts"
