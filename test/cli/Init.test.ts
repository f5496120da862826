/// <reference types="node" />
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { merge, needed } from "../../src/cli/init/Manifest.ts"
import { nameOf, placeOf, templates } from "../../src/cli/init/Templates.ts"
import { dormouse, inProcess, root, scratch } from "./command.ts"

const folder = scratch()
const filesOf = (home: string): ReadonlyArray<string> =>
  readdirSync(home, { recursive: true, encoding: "utf8" })
    .filter((file) => statSync(join(home, file)).isFile())
    .sort()
const read = (...path: ReadonlyArray<string>) => readFileSync(join(folder, ...path), "utf8")

describe("dormouse init", () => {
  it("makes an app without asking when nobody can answer", async () => {
    const { code, stderr, stdout } = await dormouse(["init", "my app", "--no-install"], folder)
    expect(stderr).toBe("")
    expect(code).toBe(0)
    expect(stdout).toContain("minimal with React")
    expect(stdout).toContain('cd "my app"')
    expect(stdout).toContain("npm run dev")
    const home = join(folder, "my app")
    expect(filesOf(home)).toEqual([
      ".gitignore",
      "README.md",
      "index.html",
      "package.json",
      "src/api.ts",
      "src/app.ts",
      "src/handlers.ts",
      "src/page/App.tsx",
      "src/page/Connection.tsx",
      "src/page/app.css",
      "src/page/client.ts",
      "src/page/main.tsx",
      "src/page/style.css",
      "src/schema.ts",
      "src/worker.ts",
      "test/app.test.ts",
      "tsconfig.json",
      "vite.config.ts",
      "vitest.config.ts",
      "wrangler.jsonc"
    ])
    const manifest = JSON.parse(read("my app", "package.json"))
    expect(manifest.name).toBe("my-app")
    expect(read("my app", "wrangler.jsonc")).toContain('"name": "my-app"')
    expect(filesOf(home).filter((file) => readFileSync(join(home, file), "utf8").includes("__"))).toEqual([])
    const own = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    expect(manifest.dependencies["effect-dormouse"]).toBe(`^${own.version}`)
    // The versions that this repository is tested with.
    const tested = { ...own.peerDependencies, ...own.devDependencies, ...own.dependencies }
    const { "effect-dormouse": _, ...others } = { ...manifest.dependencies, ...manifest.devDependencies }
    expect(Object.entries(others).filter(([name, version]) => tested[name] !== version)).toEqual([])
  })

  it("makes a page without React, for another package manager", async () => {
    const args = ["init", join(folder, "plain"), "-t", "kanban", "--no-react", "-p", "bun", "--no-install"]
    const { code, stdout } = await inProcess(args)
    expect(code).toBe(0)
    expect(stdout).toContain("bun run dev")
    const files = filesOf(join(folder, "plain"))
    expect(files.filter((file) => file.startsWith("src/page/"))).toEqual([
      "src/page/app.css",
      "src/page/dom.ts",
      "src/page/main.ts",
      "src/page/style.css"
    ])
    const manifest = JSON.parse(read("plain", "package.json"))
    expect(Object.keys({ ...manifest.dependencies, ...manifest.devDependencies })).not.toContain("react")
    expect(manifest.trustedDependencies).toContain("workerd")
    expect(read("plain", "README.md")).toContain("bun run dev")
  })

  it("takes the package manager that runs it", async () => {
    const env = { npm_config_user_agent: "pnpm/10.1.0 npm/? node/v24 linux x64" }
    const { stdout } = await inProcess(["init", join(folder, "with-pnpm"), "--no-install"], env)
    expect(stdout).toContain("pnpm install")
    expect(read("with-pnpm", "pnpm-workspace.yaml")).toContain("workerd: true")
  })

  it("CL1: leaves the files of a folder that exists as they are, and names them", async () => {
    const home = join(folder, "existing")
    mkdirSync(join(home, "src"), { recursive: true })
    const mine = {
      name: "mine",
      scripts: { dev: "my dev" },
      dependencies: { effect: "4.0.0", left: "^1.0.0" },
      other: [1]
    }
    writeFileSync(join(home, "package.json"), JSON.stringify(mine))
    writeFileSync(join(home, "src/api.ts"), "// mine")
    writeFileSync(join(home, "notes.txt"), "mine")
    const { code, stdout } = await inProcess(["init", join(folder, "existing"), "--no-install"])
    expect(code).toBe(0)
    expect(stdout).toMatch(/left as they are .*: src\/api\.ts$/m)
    expect(read("existing", "src/api.ts")).toBe("// mine")
    expect(read("existing", "notes.txt")).toBe("mine")
    const manifest = JSON.parse(read("existing", "package.json"))
    expect(manifest).toMatchObject({
      name: "mine",
      scripts: { dev: "my dev", test: "vitest run" },
      dependencies: { effect: "4.0.0", left: "^1.0.0" },
      other: [1]
    })
    expect(manifest.dependencies["effect-dormouse"]).toBeDefined()

    const again = await inProcess(["init", join(folder, "existing"), "--no-install", "--force"])
    expect(again.code).toBe(0)
    expect(again.stdout).not.toContain("left as they are")
    expect(read("existing", "src/api.ts")).toContain("AppApi")
    expect(JSON.parse(read("existing", "package.json"))).toEqual(manifest)
  })

  it("CL1: does nothing more in a folder that it has made", async () => {
    await inProcess(["init", join(folder, "twice"), "--no-install"])
    const before = filesOf(join(folder, "twice")).map((file) => read("twice", file))
    const { stdout } = await inProcess(["init", join(folder, "twice"), "--no-install"])
    expect(stdout).not.toContain("left as they are")
    expect(filesOf(join(folder, "twice")).map((file) => read("twice", file))).toEqual(before)
  })

  it.each([
    ["a file", ["init", join(folder, "file")], "is a file; name another folder", 1],
    [
      "a package.json that is none",
      ["init", join(folder, "broken"), "--no-install"],
      "is not a package.json; correct its JSON",
      1
    ],
    ["a template that does not exist", ["init", join(folder, "x"), "-t", "blog"], "minimal", 2],
    ["a flag that does not exist", ["init", "--reacts"], "Unrecognized flag: --reacts", 2],
    ["a command that does not exist", ["inti"], "init", 2]
  ])("CL4: refuses %s in one sentence", async (_, args, message, code) => {
    writeFileSync(join(folder, "file"), "")
    mkdirSync(join(folder, "broken"), { recursive: true })
    writeFileSync(join(folder, "broken/package.json"), "{ not json")
    const result = await inProcess(args)
    expect(result.stderr).toContain(message)
    expect(result.code).toBe(code)
    expect(result.stderr).not.toMatch(/^\s+at /m)
    if (code === 1) expect(result.stderr.trim().split("\n")).toHaveLength(1)
    expect(existsSync(join(folder, "x"))).toBe(false)
  })

  it("CL4: prints plain lines without a terminal", async () => {
    for (const args of [["--help"], ["init", "plain-lines", "--no-install"]]) {
      const { code, stderr, stdout } = await dormouse(args, folder)
      expect([code, stderr]).toEqual([0, ""])
      expect(stdout).not.toContain("\u001b")
    }
  })

  it("explains each command with examples, and completes them", async () => {
    const { stdout } = await inProcess(["--help"])
    for (const command of ["init", "dev", "check", "deploy"]) {
      expect(stdout).toContain(command)
      const help = await inProcess([command, "--help"])
      expect(help.code).toBe(0)
      expect(help.stdout).toContain(`$ dormouse ${command}`.slice(2))
      expect(help.stdout).toContain("EXAMPLES")
    }
    for (const shell of ["bash", "zsh", "fish"]) {
      const completions = await inProcess(["--completions", shell])
      expect(completions.stdout).toContain("package-manager")
      // The flag of the tests is for nobody else.
      expect(completions.stdout).not.toContain("--dormouse")
    }
  })

  it("has one version, that of the package", async () => {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    expect((await inProcess(["--version"])).stdout).toContain(version)
  })
})

describe("templates", () => {
  it.each([
    ["src/page.react/App.tsx", "src/page/App.tsx", undefined],
    ["src/page.dom/main.ts", undefined, "src/page/main.ts"],
    ["vite.config.react.ts", "vite.config.ts", undefined],
    ["src/reactions.ts", "src/reactions.ts", "src/reactions.ts"],
    ["gitignore", ".gitignore", ".gitignore"],
    ["workspace.npm.yaml", "workspace.yaml", "workspace.yaml"],
    ["workspace.pnpm.yaml", undefined, undefined],
    ["index.dom.html", undefined, "index.html"]
  ])("%s is %s with React and %s without", (file, withReact, without) => {
    const place = (react: boolean) => placeOf(file, { packageManager: "npm", react })
    expect([place(true), place(false)]).toEqual([withReact, without])
  })

  it.each([
    ["My App!", "my-app"],
    ["--", "dormouse-app"],
    ["ünïcode", "n-code"],
    ["a".repeat(80), "a".repeat(54)]
  ])("an app in the folder %s is named %s", (name, expected) => {
    expect(nameOf(name)).toBe(expected)
  })

  it("each has the files of an app", () => {
    for (const template of templates) {
      const files = filesOf(join(root, "templates", template))
      expect(files).toEqual(
        expect.arrayContaining([
          "README.md",
          "index.dom.html",
          "src/app.ts",
          "src/page.react/App.tsx",
          "test/app.test.ts"
        ])
      )
    }
  })
})

describe("a package.json", () => {
  it("keeps what its author wrote", () => {
    const kept = { a: 1, nested: { b: "mine" }, list: [1] }
    expect(merge(kept, { a: 2, nested: { b: "theirs", c: 3 }, list: [2], d: 4 })).toEqual({
      a: 1,
      nested: { b: "mine", c: 3 },
      list: [1],
      d: 4
    })
  })

  it.each([
    ["20.20.2", true],
    ["22.5.0", true],
    ["22.19.0", false],
    ["24.1.0", false]
  ])("made on Node %s has a Node of its own: %s", (node, expected) => {
    const versions = { dormouse: "1.0.0", tested: {} }
    const manifest: any = needed([{ devDependencies: {} }], { packageManager: "npm", versions, node })
    expect("node" in manifest.devDependencies).toBe(expected)
  })
})
