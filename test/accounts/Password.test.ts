import { describe } from "vitest"
import { defaultCost } from "../../src/accounts/Password.ts"
import { suite } from "./passwordCases.ts"

describe("passwords", () => suite(defaultCost))
