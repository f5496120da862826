import { createHooks } from "effect-dormouse/react"
import { AppApi } from "../api.ts"

/** The hooks of the contract: what components read stays live while they are shown. */
export const { Provider, useConnection, useLive, useMutation } = createHooks(AppApi)
