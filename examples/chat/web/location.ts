import { useSyncExternalStore } from "react"
import type { Channel } from "../schema.ts"
import { home } from "../tenants.ts"

/** The tenant in the address. */
export const tenant: string = new URLSearchParams(location.search).get("tenant") ?? home

/** The address of a tenant. */
export const addressOfTenant = (name: string): string => (name === home ? location.pathname : `?tenant=${name}`)

/**
 * The channel in the address, where it can be shared and the back button works: the name of a public channel, the id of a
 * private one. Empty if there is none.
 */
export const usePlace = (): string =>
  useSyncExternalStore(
    (listener) => {
      window.addEventListener("hashchange", listener)
      return () => window.removeEventListener("hashchange", listener)
    },
    () => decode(location.hash.replace(/^#\/?/, ""))
  )

/** What stands for a channel in the address. The name of a private channel would tell others what it is about. */
export const placeOf = ({ access, id, name }: Pick<Channel, "access" | "id" | "name">): string =>
  access === "private" ? id : name

/** The address of a place. */
export const addressOf = (place: string): string => `#/${encodeURIComponent(place)}`

/** Goes to a place. */
export const visit = (place: string): void => {
  location.hash = addressOf(place)
}

/** Decodes a name. An address that was typed by hand may have invalid escapes: it is then taken literally. */
const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
