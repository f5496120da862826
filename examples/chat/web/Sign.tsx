import type { Access } from "../schema.ts"
import { Icon } from "./Icon.tsx"

/** What stands before the name of a channel: a hash, or a lock if it is private. */
export const Sign = ({ access }: { readonly access: Access }) =>
  access === "private" ? (
    <span className="hash">
      <Icon name="lock" />
      <span className="hidden">Private: </span>
    </span>
  ) : (
    <span className="hash" aria-hidden="true">
      #
    </span>
  )
