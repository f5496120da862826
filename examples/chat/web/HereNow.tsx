import { Here, type PersonHere } from "../presence/api.ts"
import type { ChannelId } from "../schema.ts"
import { useLive, usePresence } from "./client.ts"
import { Face } from "./Face.tsx"

/** Who is in a channel. The user is as well, while this is mounted. */
export const useHere = (channel: ChannelId, isTyping: boolean): ReadonlyArray<PersonHere> => {
  usePresence(Here, { channel }, { isTyping })
  return useLive("people.here", { channel }).value ?? []
}

/** Faces that are shown before the rest is a number. */
const shown = 5

/** Everybody who is in the channel, in one line. */
export const HereNow = ({ people }: { readonly people: ReadonlyArray<PersonHere> }) => (
  <ul className="here" aria-label="Here now">
    {people.map(({ id, name }, i) => (
      <li key={id} title={name} className={i < shown ? undefined : "hidden"}>
        <Face id={id} name={name} />
        <span className="hidden">{name}</span>
      </li>
    ))}
    {/* In the place of the faces on a phone. */}
    {people.length > 0 && (
      <li className="count" aria-hidden="true">
        {people.length} here
      </li>
    )}
    {people.length > shown && (
      <li className="more" aria-hidden="true">
        +{people.length - shown}
      </li>
    )}
  </ul>
)
