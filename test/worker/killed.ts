import * as Effect from "effect/Effect"
import { world } from "./work.ts"

export { quietApp } from "./work.ts"

// The app of the tests that kill it: its actions and messages last a while, so that a kill finds some of them under way.
world.end = () => Effect.sleep("30 millis")
