import { useSyncExternalStore } from "react"

/** What the page shows: a board, or the cards that are assigned to the user. */
export type Place = { readonly _tag: "Board"; readonly name: string } | { readonly _tag: "Mine" }

/** The place in the address, where it can be shared and the back button works. */
export const usePlace = (): Place => {
  const hash = useHash()
  return hash === "#mine" ? { _tag: "Mine" } : { _tag: "Board", name: decode(hash.replace(/^#\/?/, "")) }
}

const useHash = (): string =>
  useSyncExternalStore(
    (listener) => {
      window.addEventListener("hashchange", listener)
      return () => window.removeEventListener("hashchange", listener)
    },
    () => location.hash
  )

/** The address of the cards that are assigned to the user. */
export const mine = "#mine"

/** The address of a board. */
export const addressOf = (name: string): string => `#/${encodeURIComponent(name)}`

/** Decodes a name. An address that was typed by hand may have invalid escapes: it is then taken literally. */
const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
