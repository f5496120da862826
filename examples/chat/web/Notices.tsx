/** What the page shows in the place of a conversation. */
import { home, tenants } from "../tenants.ts"
import { useMutation } from "./client.ts"
import { addressOf, addressOfTenant, tenant, visit } from "./location.ts"
import { Mark } from "./Mark.tsx"
import { nameFrom } from "./names.ts"
import { PendingLine } from "./Pending.tsx"
import { useWaitsFor, wordsOf } from "./patience.ts"
import { forget } from "./session.ts"

/** Shown when there is no channel yet, or none that is `missing`, the place in the address. Offers to create it. */
export const Welcome = ({ missing }: { readonly missing: string }) => {
  const [create, isPending] = useMutation("channels.create")
  const name = nameFrom(missing) || "general"
  const onClick = async () => {
    await create({ name, access: "public" }).catch(() => undefined)
    visit(name)
  }
  return (
    <div className="empty">
      <Mark />
      <h2>{missing === "" ? "Nobody has said anything yet" : `There is no #${missing}`}</h2>
      <p>
        {missing === ""
          ? "Create the first channel and write something. Open this page in a second window to see it arrive there."
          : "Check the name, or create the channel."}
      </p>
      <button type="button" className="primary" onClick={onClick} disabled={isPending}>
        Create #{name}
      </button>
      <PendingLine isPending={isPending} doing="Creating…" />
      {missing !== "" && <a href={addressOf("")}>All channels</a>}
    </div>
  )
}

/** Shown in the place of a private channel that does not exist, or that the user may not see: both look the same. */
export const Gone = () => (
  <div className="empty">
    <Mark />
    <h2>You cannot see this channel</h2>
    <p>It is private and you are not a member, or it does not exist.</p>
    <a href={addressOf("")}>All channels</a>
  </div>
)

/** Shown when the server does not accept the session any more. */
export const Ended = () => (
  <div className="empty">
    <Mark />
    <h2>You were signed out</h2>
    <p>Somebody signed out this account everywhere, or the session has expired.</p>
    <button type="button" className="primary" onClick={forget}>
      Continue as a guest
    </button>
  </div>
)

/** Shown to who may not enter the tenant. A tenant that does not exist looks the same. */
export const Refused = () => (
  <div className="empty">
    <Mark />
    <h2>You are not in this team</h2>
    <p>
      {tenants[tenant] ?? "This team"} is for people who have an account with a name and a password. You can create one
      in {tenants[home]}.
    </p>
    <a href={addressOfTenant(home)}>Go to {tenants[home]}</a>
  </div>
)

/** Shown when the channels cannot be read. */
export const Failed = () => (
  <div className="empty">
    <Mark />
    <h2>The chat cannot be shown</h2>
    <p>Something went wrong on the server.</p>
    <button type="button" className="primary" onClick={() => location.reload()}>
      Reload
    </button>
  </div>
)

/** Shown until there is something to show. */
export const Loading = () => (
  <div className="empty">
    <Mark />
    <p role="status">{wordsOf(useWaitsFor(true), "Loading…")}</p>
  </div>
)
