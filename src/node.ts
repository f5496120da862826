/**
 * An app in a process of Node, inside an Effect server of its author's.
 * It needs Node 22.13 or newer, for `node:sqlite`.
 */
export * as LocalServer from "./local/LocalServer.ts"
