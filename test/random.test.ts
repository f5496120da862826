import { afterEach, describe, expect, it, vi } from "vitest"
import { sources } from "./sources.ts"

/** Every random test begins with one seed that it prints, and repeats with it. */

/** `test/random.ts` as it is under these variables, and what it prints. */
const load = async (variables: Readonly<Record<string, string | undefined>>) => {
  vi.resetModules()
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value)
  const printed: Array<string> = []
  vi.spyOn(console, "info").mockImplementation((line) => void printed.push(line))
  return { ...(await import("./random.ts")), printed }
}

describe("the seeds of random tests", () => {
  afterEach(() => {
    vi.unstubAllEnvs()
    vi.restoreAllMocks()
  })

  it("DORMOUSE_SEED is the first seed, and is printed", async () => {
    const { forAll, printed, Random } = await load({ DORMOUSE_SEED: "41", DORMOUSE_LONG: "" })
    const drawn: Array<[number, number]> = []
    forAll(3, (random, seed) => void drawn.push([seed, random.next()]))
    expect(drawn).toEqual([41, 42, 43].map((seed) => [seed, new Random(seed).next()]))
    expect(printed).toEqual(["DORMOUSE_SEED=41"])
  })

  it("without it each run has another seed, which a failure names", async () => {
    const messages = new Set<string>()
    for (let i = 0; i < 3; i++) {
      const { forAll, printed } = await load({ DORMOUSE_SEED: undefined })
      const failed = () =>
        forAll(5, (_, seed) => {
          throw new Error(`${seed}`)
        })
      expect(failed).toThrow(/^DORMOUSE_SEED=(\d+) fails: \1$/)
      messages.add(printed[0]!)
    }
    expect(messages.size).toBe(3)
  })

  it("DORMOUSE_LONG=1 runs more", async () => {
    const runs = async (DORMOUSE_LONG: string) => (await load({ DORMOUSE_LONG })).seeds(7).length
    expect(await runs("1")).toBeGreaterThan(await runs(""))
  })

  it("a control accepts every failed check, and no other exception", async () => {
    const { forAll, forAllAsync, Violation } = await load({ DORMOUSE_SEED: "1" })
    const checks = [
      () => expect(1).toBe(2),
      () => {
        throw new Violation("wrong")
      }
    ]
    for (const check of checks) {
      expect(() => forAll(1, check)).toThrow(Violation)
      await expect(forAllAsync(1, async () => check())).rejects.toThrow(Violation)
    }
    const mistake = () => {
      throw new TypeError("a mistake")
    }
    expect(() => forAll(1, mistake)).not.toThrow(Violation)
    await expect(forAllAsync(1, async () => mistake())).rejects.not.toBeInstanceOf(Violation)
  })

  it("no test has a scheme of its own", () => {
    const own = /process\.env\["\w*(SEED|APPS|LONG)|new Random\(\d|Math\.random\(|Failed with seed/
    const others = sources().filter(({ path }) => !/^random(\.test)?\.ts$/.test(path))
    expect(others.length).toBeGreaterThan(100)
    expect(others.flatMap(({ path, text }) => (own.test(text) ? [path] : []))).toEqual([])
  })
})
