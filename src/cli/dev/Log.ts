/**
 * What Vite and workerd print while `dormouse dev` runs, made readable: an error once, with its place and without the stack of
 * the tools, and a short line for each edit that the Worker has taken.
 */
import { stripVTControlCharacters } from "node:util"
import type * as Vite from "vite"

/** How the edits of a Worker are announced by the tools. */
const entry = "virtual:cloudflare/worker-entry"

const isStack = (line: string): boolean => /^\s+at .+/.test(stripVTControlCharacters(line))

/** A message without the stack and without what is printed after it. */
export const withoutStack = (message: string): string => {
  const lines = message.split("\n")
  const stack = lines.findIndex(isStack)
  return (stack === -1 ? lines : lines.slice(0, stack)).join("\n").trimEnd()
}

/** A message with its colors, if the terminal has them. */
export const shown = (message: string, canColor: boolean): string =>
  canColor ? message : stripVTControlCharacters(message)

/** What an error is about, without who says it: several tools report the same one. */
const subjectOf = (message: string): string =>
  stripVTControlCharacters(message)
    .replace(/^(\[vite\] )?(Error|Internal server error): /, "")
    .trim()

/** A logger for Vite, over its own. */
export const make = (base: Vite.Logger, canColor: boolean): Vite.Logger => {
  const reported = new Set<string>()
  const show = (message: string) => shown(message, canColor)
  /** Whether it says again what was said, perhaps with more around it. */
  const isRepeated = (message: string): boolean => {
    const plain = stripVTControlCharacters(message)
    return [...reported].some((subject) => plain.includes(subject))
  }
  const error = (message: string, options?: Vite.LogErrorOptions): void => {
    if (isRepeated(message)) return
    const text = withoutStack(message)
    reported.add(subjectOf(text))
    if (text.includes(entry))
      base.error("The Worker cannot take this edit. It goes on with the next one that is right.", options)
    else base.error(show(text), options)
  }
  return {
    ...base,
    // Vite keeps the state of a logger in it.
    get hasWarned() {
      return base.hasWarned
    },
    info: (message, options) => {
      // The Worker prints what fails in it as if it were nothing special.
      if (/^\[vite\] (Error: |An error )/.test(stripVTControlCharacters(message))) return error(message)
      if (!message.includes(entry)) return isRepeated(message) ? undefined : base.info(show(message), options)
      // An edit is announced when it begins and when it is done.
      if (!message.includes("hot updated")) return
      reported.clear()
      base.info("the Worker has taken the edit", { ...options, timestamp: true })
    },
    warn: (message, options) => base.warn(show(message), options),
    warnOnce: (message, options) => base.warnOnce(show(message), options),
    error
  }
}
