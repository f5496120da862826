import type { Progress } from "../imports/api.ts"
import type { ChannelId } from "../schema.ts"
import { useLive, useMutation } from "./client.ts"

/** The user's imports into this channel: how far they are, and how they ended. */
export const Imports = ({ channel }: { readonly channel: ChannelId }) => {
  const { value = [] } = useLive("imports.list", {})
  const here = value.filter((each) => each.import.channel === channel)
  return (
    here.length > 0 && (
      <section className="waiting" aria-label="Imports">
        <ul>
          {here.map((each) => (
            <Item key={each.import.id} {...each} />
          ))}
        </ul>
      </section>
    )
  )
}

const Item = ({ done, import: { file, id, state, total, ...counts } }: Progress) => {
  const [cancel, isCancelling] = useMutation("imports.cancel")
  const [dismiss, isDismissing] = useMutation("imports.dismiss")
  const isRunning = state === "running"
  const end = isRunning ? cancel : dismiss
  return (
    <li>
      <div className="import">
        <p>
          <span className="excerpt">{file}</span>
          {isRunning && (
            <span className="state">
              {number(done)} of {number(total)}
            </span>
          )}
          <span className="state" role="status">
            {!isRunning && outcomeOf({ state, ...counts })}
          </span>
        </p>
        {isRunning && <progress aria-label={`Import of ${file}`} max={total} value={done} />}
      </div>
      <button
        type="button"
        className="plain"
        aria-label={`${isRunning ? "Cancel" : "Dismiss"}: ${file}`}
        disabled={isCancelling || isDismissing}
        onClick={() => end({ id }).catch(() => undefined)}
      >
        {isRunning ? "Cancel" : "Dismiss"}
      </button>
    </li>
  )
}

type Counts = Pick<Progress["import"], "state" | "imported" | "broken" | "failed">

const outcomeOf = ({ broken, failed, imported, state }: Counts): string => {
  const words = [
    state === "cancelled" ? `Cancelled after ${number(imported)} messages` : `${number(imported)} messages imported`
  ]
  if (broken > 0) words.push(`${number(broken)} ${broken === 1 ? "line" : "lines"} could not be read`)
  if (failed > 0) words.push(`${number(failed)} could not be written`)
  return words.join(", ")
}

const number = (value: number): string => value.toLocaleString()
