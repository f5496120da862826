import { Auth } from "effect-dormouse/auth"
import { memory } from "../deployment/memory.ts"
import * as Guarded from "../worker/guarded.ts"
import * as System from "../worker/system.ts"
import { suite } from "./systemCases.ts"

suite("The deployment's own object in memory", () =>
  memory(Guarded.guardedApp, { auth: Auth.layerFirst(System.auth, Guarded.auth), enter: Guarded.enter }))
