import { useSyncExternalStore } from "react"

/** The channel is in the address, so that it can be shared and the back button works. */
export const useChannelName = (): string =>
  useSyncExternalStore(
    (listener) => {
      window.addEventListener("hashchange", listener)
      return () => window.removeEventListener("hashchange", listener)
    },
    () => decode(location.hash.replace(/^#\/?/, ""))
  )

export const addressOf = (name: string): string => `#/${encodeURIComponent(name)}`

export const visit = (name: string): void => {
  location.hash = addressOf(name)
}

/** Somebody may have typed the address. */
const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
