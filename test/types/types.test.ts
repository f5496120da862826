/// <reference types="node" />
import { spawn } from "node:child_process"
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { fileURLToPath, URL } from "node:url"
import { afterAll, describe, expect, it } from "vitest"
import { largeContract } from "./largeContract.ts"

/**
 * K2 and related rules, as the compiler enforces them. Comments in the files of this folder mark what must not compile,
 * and what the compiler must report:
 *
 *     // @ts-expect-error: part of the message
 *     the statement or the property that the message is about
 */

const folder = fileURLToPath(new URL(".", import.meta.url))
const root = fileURLToPath(new URL("../..", import.meta.url))
/** Next to the originals, so that imports resolve. The compiler skips a folder with a dot unless it is named. */
const scratch = `${folder}.compiled/`

afterAll(() => rm(scratch, { recursive: true, force: true }))

interface Problem {
  readonly file: string
  readonly line: number
  readonly message: string
}

/** Compiles a set of files with the project's settings. `npm run check` covers all other files. */
const compile = async (name: string, files: Readonly<Record<string, string>>) => {
  const directory = `${scratch}${name}/`
  await mkdir(directory, { recursive: true })
  const config = { extends: "../../../../tsconfig.json", include: ["."] }
  for (const [file, text] of Object.entries({ ...files, "tsconfig.json": JSON.stringify(config) })) {
    await writeFile(`${directory}${file}`, text)
  }
  const output = await run(directory)
  const problems: Array<Problem> = []
  for (const line of output.split("\n")) {
    const [, path, number, message] = /^(\S+\.ts)\((\d+),\d+\): error (.*)$/.exec(line) ?? []
    if (path !== undefined) {
      problems.push({ file: path, line: Number(number), message: message! })
    } else if (line.startsWith("  ") && problems.length > 0) {
      // Further lines of a message are indented.
      const last = problems.pop()!
      problems.push({ ...last, message: `${last.message}\n${line}` })
    }
  }
  const instantiations = Number(/^Instantiations:\s+(\d+)/m.exec(output)?.[1])
  return { problems: problems.filter(({ file }) => file in files), instantiations }
}

/** Runs the compiler in a directory: it reports paths relative to that. */
const run = (directory: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const flags = ["--pretty", "false", "--singleThreaded", "--extendedDiagnostics"]
    const args = [`${root}node_modules/typescript/bin/tsc`, "-p", ".", ...flags]
    const compiler = spawn(process.execPath, args, { cwd: directory })
    let output = ""
    compiler.stdout.setEncoding("utf8").on("data", (text: string) => (output += text))
    compiler.on("error", reject)
    compiler.on("close", () => resolve(output))
  })

const directive = /^\s*\/\/ @ts-expect-error: (.*)$/

describe("K2: the kind is in the types", async () => {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
  const files = Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(folder + name, "utf8")] as const))
  )
  const expected = Object.entries(files).flatMap(([file, text]) =>
    text.split("\n").flatMap((line, index): ReadonlyArray<Problem> => {
      const message = directive.exec(line)?.[1]
      // Lines count from one, and the error is on the line after.
      return message === undefined ? [] : [{ file, line: index + 2, message }]
    })
  )
  const disarmed = Object.entries(files).map(([file, text]) => [file, text.replaceAll("@ts-expect-error", "expected")])
  const compiled = compile("kinds", Object.fromEntries(disarmed))

  for (const { file, line, message } of expected) {
    it(`${file}:${line} does not compile: ${message}`, async () => {
      const { problems } = await compiled
      const found = problems.filter((problem) => problem.file === file && problem.line === line)
      expect(found.map((problem) => problem.message).join("\n")).toContain(message)
    })
  }

  it("everything else compiles", async () => {
    const { problems } = await compiled
    const others = problems.filter(
      ({ file, line }) => !expected.some((problem) => problem.file === file && problem.line === line)
    )
    expect(others).toEqual([])
    expect(expected.length).toBeGreaterThan(40)
  })
})

describe("a large contract", () => {
  it("of 200 rpcs type-checks with its handlers and a call of each, at a bounded cost", async () => {
    const { instantiations, problems } = await compile("large", { "contract.ts": largeContract(200) })
    expect(problems).toEqual([])
    // Measured: 4.1 million, in 1.3 s.
    expect(instantiations).toBeLessThan(6_000_000)
  })

  it("of 100 rpcs is accepted by Effect's client, with its live streams", async () => {
    const text = largeContract(100).replace("RpcClient.make(ItemsApi.declared)", "RpcClient.make(ItemsApi)")
    const { problems } = await compile("stock", { "contract.ts": text })
    expect(problems).toEqual([])
  })
})
