import { describe } from "@effect/vitest"
import { tokenLayers } from "./tokenLayers.ts"
import { tokenSuite } from "./tokenSuite.ts"

for (const [name, make] of Object.entries(tokenLayers)) describe(name, () => tokenSuite(make))
