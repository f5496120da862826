import { useMutation } from "./client.ts"
import { visit } from "./location.ts"
import { Mark } from "./Mark.tsx"
import { nameFrom } from "./names.ts"

/** Shown when there is no channel yet, or none with the name in the address (`missing`). Offers to create it. */
export const Welcome = ({ missing }: { readonly missing: string }) => {
  const [create, isPending] = useMutation("channels.create")
  const name = nameFrom(missing) || "general"
  const onClick = async () => {
    await create({ name }).catch(() => undefined)
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
      {missing !== "" && <a href="#/">All channels</a>}
    </div>
  )
}
