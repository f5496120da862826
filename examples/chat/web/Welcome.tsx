import { useMutation } from "./client.ts"
import { addressOf, visit } from "./location.ts"
import { Mark } from "./Mark.tsx"
import { nameFrom } from "./names.ts"

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
      <h1>{missing === "" ? "Nobody has said anything yet" : `There is no #${missing}`}</h1>
      <p>
        {missing === ""
          ? "Make the first channel and say something. Open this page in a second window as well, and watch it arrive."
          : "It may have had another name. You can make it now."}
      </p>
      <button type="button" className="primary" onClick={onClick} disabled={isPending}>
        Create #{name}
      </button>
      {missing !== "" && <a href={addressOf("")}>All channels</a>}
    </div>
  )
}

/** Shown in the place of a private channel that does not exist, or that the user may not see: both look the same. */
export const Gone = () => (
  <div className="empty">
    <Mark />
    <h1>This conversation is not here</h1>
    <p>It was private, and you are not one of its members, or it does not exist.</p>
    <a href={addressOf("")}>All channels</a>
  </div>
)
