/**
 * Colors, where the terminal has them (`NO_COLOR`, `FORCE_COLOR`, `TERM=dumb` and pipes are heeded), and steps with
 * progress: a line that moves in a terminal, plain lines elsewhere.
 */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Terminal from "effect/Terminal"

/** How a text is shown. */
export interface Style {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly red: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
  readonly cyan: (text: string) => string
}

const escape = (code: number, end: number) => (text: string) => `\u001b[${code}m${text}\u001b[${end}m`

const colors: Style = {
  bold: escape(1, 22),
  dim: escape(2, 22),
  red: escape(31, 39),
  green: escape(32, 39),
  yellow: escape(33, 39),
  cyan: escape(36, 39)
}

const as = (text: string) => text
const plain: Style = { bold: as, dim: as, red: as, green: as, yellow: as, cyan: as }

/** The styles that the terminal can show. */
export const style: Effect.Effect<Style> = Effect.map(TerminalCapabilities.TerminalCapabilities, ({ canColor }) =>
  canColor ? colors : plain
)

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"]
const clearLine = "\r\u001b[2K"

/** Runs an effect as a step with a name, and says how long it took. */
export const step = Effect.fnUntraced(function* <A, E, R>(name: string, effect: Effect.Effect<A, E, R>) {
  const { canAnimate } = yield* TerminalCapabilities.TerminalCapabilities
  const { dim, green, red } = yield* style
  const terminal = yield* Terminal.Terminal
  const begun = yield* Clock.currentTimeMillis
  const seconds = Effect.map(Clock.currentTimeMillis, (now) => `${((now - begun) / 1000).toFixed(1)} s`)
  if (!canAnimate) {
    yield* Console.log(`${name} …`)
    const exit = yield* Effect.exit(effect)
    if (Exit.isSuccess(exit)) yield* Console.log(`${name}: done in ${yield* seconds}`)
    return yield* exit
  }
  const show = (text: string) => Effect.ignore(terminal.display(text))
  const spin = Effect.gen(function* () {
    for (let i = 0; ; i++) {
      yield* show(`${clearLine}${frames[i % frames.length]} ${name} ${dim(yield* seconds)}`)
      yield* Effect.sleep(100)
    }
  })
  const spinner = yield* Effect.forkChild(spin)
  const exit = yield* Effect.exit(effect)
  yield* Fiber.interrupt(spinner)
  const mark = Exit.isSuccess(exit) ? green("✓") : red("✗")
  yield* show(`${clearLine}${mark} ${name} ${dim(yield* seconds)}\n`)
  return yield* exit
})
