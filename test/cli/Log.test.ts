import { describe, expect, it } from "vitest"
import { make, withoutStack } from "../../src/cli/dev/Log.ts"

const recorder = (canColor = false) => {
  const lines: Array<string> = []
  const log = (message: string) => void lines.push(message)
  const base: any = { hasWarned: false, info: log, warn: log, warnOnce: log, error: log, clearScreen: () => {} }
  return { lines, logger: make(base, canColor) }
}

const failure = "Transform failed with 1 error:\n\n[PARSE_ERROR] Expected `)`\n src/handlers.ts:16:20"
const stack = "\n    at transform (node.js:1:2)\n  errors: [ { code: 'PARSE_ERROR' } ]"

describe("what the tools print", () => {
  it("is shown without their stack, once, however many of them report it", () => {
    const { lines, logger } = recorder()
    logger.info(`[vite] Error: ${failure}${stack}`)
    logger.error(`\u001b[31mInternal server error: ${failure}\u001b[39m${stack}`)
    logger.info(`ERROR (#8): the server could not answer Error: ${failure}`)
    expect(lines).toEqual([`[vite] Error: ${failure}`])
  })

  it("is shown again after an edit that was right", () => {
    const { lines, logger } = recorder()
    logger.error(`Internal server error: ${failure}${stack}`)
    logger.info("hmr update virtual:cloudflare/worker-entry")
    logger.info("[vite] hot updated: virtual:cloudflare/worker-entry")
    logger.error(`Internal server error: ${failure}${stack}`)
    expect(lines).toHaveLength(3)
    expect(lines[1]).toBe("the Worker has taken the edit")
  })

  it("keeps what the app prints, and its colors where there are some", () => {
    const { lines, logger } = recorder()
    logger.info("\u001b[32mhello\u001b[39m")
    const colored = recorder(true)
    colored.logger.info("\u001b[32mhello\u001b[39m")
    expect([...lines, ...colored.lines]).toEqual(["hello", "\u001b[32mhello\u001b[39m"])
  })

  it("has no stack after its first line of one", () => {
    expect(withoutStack("a\n  b at c\n    at d (e:1:2)\nf")).toBe("a\n  b at c")
    expect(withoutStack("a\nb")).toBe("a\nb")
  })
})
