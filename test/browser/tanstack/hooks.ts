/** The hooks of the app's contract. */
import { createHooks } from "effect-dormouse/react"
import { HooksApi } from "../../worker/hooks.ts"

export const { Preload, Provider, useLive, useLiveSuspense } = createHooks(HooksApi)
