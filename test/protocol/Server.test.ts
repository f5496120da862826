import { memory } from "../deployment/memory.ts"
import { app } from "../worker/notes.ts"
import { suite } from "./fixtureCases.ts"

suite("The protocol's fixtures and the server in memory", () => memory(app))
