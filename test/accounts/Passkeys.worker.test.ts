import { describe } from "vitest"
import { deploy } from "./deployment.ts"
import { passkeys, suite } from "./passkeyCases.ts"

describe("passkeys in workerd", () => suite(({ isOffered = true } = {}) => deploy(isOffered ? { passkeys } : {})))
