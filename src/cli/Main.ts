/**
 * The command `dormouse` with all of its subcommands.
 * `cli.ts` runs it on Node; tests run it with services of their own.
 */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { adminCommands } from "./admin/Commands.ts"
import { check } from "./check/Check.ts"
import { deploy } from "./deploy/Deploy.ts"
import { dev } from "./dev/Dev.ts"
import * as Failure from "./Failure.ts"
import { init } from "./init/Init.ts"
import * as Package from "./Package.ts"

/** The command. */
export const dormouse = Command.make("dormouse").pipe(
  Command.withDescription(
    "Makes, runs, checks and deploys apps of effect-dormouse.\n\n  " +
      "A new app, from an empty folder to a page that is live: npx effect-dormouse init my-app, then npm run dev in it. " +
      "Each command explains itself: dormouse dev --help."
  ),
  Command.withExamples([
    { command: "dormouse init my-app", description: "Make an app in a new folder" },
    { command: "dormouse dev", description: "Run it on this machine, without an account" },
    { command: "dormouse check", description: "Say what a release would break" },
    { command: "dormouse deploy", description: "Check it, and deploy it to Cloudflare" },
    { command: "source <(dormouse --completions bash)", description: "Complete commands and flags in this shell" }
  ]),
  Command.withSubcommands([
    { group: "An app", commands: [init, dev, check, deploy] },
    { group: "A running app", commands: [...adminCommands] }
  ])
)

/** Runs the command with these arguments. What fails is printed; the exit says how. */
export const run = (args: ReadonlyArray<string>) =>
  Effect.flatMap(Package.version, (version) => Command.runWith(dormouse, { version })(args)).pipe(
    Effect.tapCause(Failure.report)
  )

/** Runs the command with the arguments of the process. */
export const main = Effect.flatMap(Package.version, (version) => Command.run(dormouse, { version })).pipe(
  Effect.tapCause(Failure.report)
)
