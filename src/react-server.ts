/**
 * Reads queries while a server renders, for the first render of a page in the browser.
 * The hooks of `effect-dormouse/react` take what it returns as `initialValue`.
 */
export { createPreload, type Preloader, type PreloadOptions, preload, toHtmlJson } from "./client/Preload.ts"
export type { Preloaded } from "./client/Preloaded.ts"
