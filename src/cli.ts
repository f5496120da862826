#!/usr/bin/env node
/**
 * The command `dormouse`: what works on an author's folder, and what talks to a running app.
 * This file runs it on Node; `cli/Main.ts` is the command itself.
 */
import * as Effect from "effect/Effect"
import * as Main from "./cli/Main.ts"
import * as Platform from "./cli/Platform.ts"

Main.main.pipe(Effect.provide(Platform.layer), Platform.runMain)
