import { useSyncExternalStore } from "react"

/** The name of the channel in the address, where it can be shared and the back button works. Empty if there is none. */
export const useChannelName = (): string =>
  useSyncExternalStore(
    (listener) => {
      window.addEventListener("hashchange", listener)
      return () => window.removeEventListener("hashchange", listener)
    },
    () => decode(location.hash.replace(/^#\/?/, ""))
  )

/** The address of a channel. */
export const addressOf = (name: string): string => `#/${encodeURIComponent(name)}`

/** Goes to a channel. */
export const visit = (name: string): void => {
  location.hash = addressOf(name)
}

/** Decodes a name. An address that was typed by hand may have invalid escapes: it is then taken literally. */
const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
