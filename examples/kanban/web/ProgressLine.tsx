import type { BoardId } from "../schema.ts"
import { useLive } from "./client.ts"

const [width, height] = [120, 24]

/** How many cards were done, over the last changes of the board: the history that the reactor writes. */
export const ProgressLine = ({ board }: { readonly board: BoardId }) => {
  const { value: history = [] } = useLive("progress.list", { board })
  const last = history.at(-1)
  if (last === undefined) return null
  const shares = history.map(({ done, open }) => (open + done === 0 ? 0 : done / (open + done)))
  const points = shares.map((share, index) => {
    const x = shares.length === 1 ? width : (index / (shares.length - 1)) * width
    return `${x.toFixed(1)},${(height - share * height).toFixed(1)}`
  })
  return (
    <p className="progress">
      <svg viewBox={`0 0 ${width} ${height}`} width={width} height={height} aria-hidden="true">
        <polyline points={points.join(" ")} fill="none" stroke="currentColor" strokeWidth="2" />
      </svg>
      {last.done} of {last.open + last.done} done
    </p>
  )
}
