import { useSyncExternalStore } from "react"

/** The width up to which the page shows one pane at a time. The same as in the style sheet. */
const narrow = matchMedia("(max-width: 44rem)")

/** Whether the page shows one pane at a time. */
export const usePhone = (): boolean =>
  useSyncExternalStore(
    (listener) => {
      narrow.addEventListener("change", listener)
      return () => narrow.removeEventListener("change", listener)
    },
    () => narrow.matches
  )
