import { Auth } from "effect-dormouse/auth"
import { memory } from "../../deployment/memory.ts"
import * as Sessions from "../../worker/sessions.ts"
import { suite } from "./sessionCases.ts"

suite("in memory", () => memory(Sessions.app, { auth: Sessions.authOr(Auth.layerAnonymous), enter: Sessions.enter }))
