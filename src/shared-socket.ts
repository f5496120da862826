/**
 * One socket for all tabs of a browser.
 * A page that does not share its socket does not bundle it.
 */
export * as SharedSocket from "./client/SharedSocket.ts"
