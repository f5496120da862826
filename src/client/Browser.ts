/**
 * The members of a browser's global object that the client uses.
 * Node and Workers lack some or all of them.
 */

/** The global object of any JavaScript runtime. Every member is optional: check that it exists before using it. */
export interface Browser extends Partial<EventTarget> {
  readonly document?: EventTarget & { readonly visibilityState?: string }
  readonly navigator?: { readonly onLine?: boolean; readonly locks?: Locks }
  readonly BroadcastChannel?: new (name: string) => Channel
}

/** The part of a `BroadcastChannel` that is used. A message reaches every other channel of the name, in all pages of the origin. */
export interface Channel {
  onmessage: ((event: { readonly data: unknown }) => void) | null
  readonly postMessage: (message: unknown) => void
  readonly close: () => void
}

/** The part of the Web Locks API that is used. */
export interface Locks {
  /**
   * Calls `body` with the lock as soon as it is free; with `ifAvailable` at once, with `null` when it is taken. The lock is held
   * until the promise of `body` settles, or its page is gone. With `steal` it is taken from its holder, whose promise rejects.
   */
  readonly request: (
    name: string,
    options: { readonly ifAvailable?: true; readonly steal?: true; readonly signal?: AbortSignal },
    body: (lock: unknown) => Promise<void> | undefined
  ) => Promise<void>
}

/** The global object of this runtime. The assertion claims only that members which exist have their standard shape. */
export const browser = globalThis as Browser
