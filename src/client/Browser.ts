/**
 * The parts of a browser's global object that the client uses.
 * Node and Workers lack some or all of them.
 */

/** A global object. Every member is optional: check it before use. */
export interface Browser extends Partial<EventTarget> {
  readonly document?: EventTarget & { readonly visibilityState?: string }
  readonly navigator?: { readonly onLine?: boolean; readonly locks?: Locks }
}

/** The Web Locks API, as far as it is used: asks for a lock, and holds it until the promise of `body` settles. */
export interface Locks {
  readonly request: (
    name: string,
    options: { readonly ifAvailable: true },
    body: (lock: unknown) => Promise<void> | undefined
  ) => Promise<void>
}

/** The global object. */
// Whatever the runtime, the type claims only that these members have their standard shape where they exist.
export const browser = globalThis as Browser
