/**
 * What hooks that suspend share: whether a server renders, and a promise that does not suspend.
 * The hooks of a contract use it, and those of atoms.
 */
import { useSyncExternalStore } from "react"

/** A promise of which React knows that it is fulfilled. */
export const noWait: Promise<void> = Object.assign(Promise.resolve(), { status: "fulfilled" })

const never = () => () => {}
const no = () => false
const yes = () => true

/** Whether a server renders, or a page hydrates: an external store that never changes, whose server snapshot differs. */
export const useIsServer = (): boolean => useSyncExternalStore(never, no, yes)
