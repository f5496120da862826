/**
 * What a check has found, as text.
 * What breaks comes first, each with the place and what to do.
 */
import type { Change } from "../contract/Changes.ts"
import type { Style } from "../Style.ts"

const titles = { breaking: "breaking", unproved: "cannot be proved", safe: "safe" }

/** The lines of a change. */
const linesOf = ({ part, path, problem, remedy, subject, verdict }: Change, style: Style): ReadonlyArray<string> => {
  const color = { breaking: style.red, unproved: style.yellow, safe: style.green }[verdict]
  const place = [subject, ...(part === "rpc" || part === "row" ? [] : [part]), ...(path === "" ? [] : [path])].join(
    " › "
  )
  return [
    `${color(titles[verdict])}  ${style.bold(place)}: ${problem}`,
    ...(remedy === "" ? [] : [style.dim(`  → ${remedy}`)])
  ]
}

/** The whole report, and its last line, which says how many of which there are. */
export const report = (changes: ReadonlyArray<Change>, style: Style): string => {
  if (changes.length === 0) return "The contract is that of the last release."
  const count = (verdict: Change["verdict"]) => changes.filter((change) => change.verdict === verdict).length
  const counts = (["breaking", "unproved", "safe"] as const)
    .filter((verdict) => count(verdict) > 0)
    .map((verdict) => `${count(verdict)} ${titles[verdict]}`)
  return [
    ...changes.flatMap((change) => linesOf(change, style)),
    "",
    `Changes since the last release: ${counts.join(", ")}.`
  ].join("\n")
}

/** Whether somebody has to decide before these changes are released. */
export const needsDecision = (changes: ReadonlyArray<Change>): boolean =>
  changes.some(({ verdict }) => verdict !== "safe")
