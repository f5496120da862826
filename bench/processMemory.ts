/** How much memory the servers of a benchmark take, from what Linux says of each process. */
import { readdirSync, readFileSync } from "node:fs"

/** Megabytes of the largest workerd in a group of processes. */
export const workerdMemory = (processGroup: number | undefined): number => {
  let largest = 0
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const [, , group] = readFileSync(`/proc/${pid}/stat`, "utf8")
        .replace(/^.*\) /, "")
        .split(" ")
      const name = readFileSync(`/proc/${pid}/comm`, "utf8")
      if (Number(group) !== processGroup || !name.startsWith("workerd")) continue
      const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? []
      largest = Math.max(largest, Number(kilobytes ?? 0) / 1024)
    } catch {
      // It has ended.
    }
  }
  return largest
}
