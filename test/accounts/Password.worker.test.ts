import { describe } from "vitest"
import { defaultCost } from "../../src/accounts/Password.ts"
import { suite } from "./passwordCases.ts"

// The memory of the default cost, and a fifth of its time: under the test runner workerd computes slowly.
describe("passwords", () => suite({ ...defaultCost, p: 1 }))
