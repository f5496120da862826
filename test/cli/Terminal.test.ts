/// <reference types="node" />
import { execFileSync, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { cleanEnv, fromSources, root, scratch, until } from "./command.ts"

/** The command in a real terminal. */

const hasTmux = spawnSync("tmux", ["-V"]).status === 0
if (!hasTmux) console.warn("tmux is not installed: the command is not tested in a terminal")

const folder = scratch()
const socket = `dormouse-${process.pid}`
const tmux = (...args: ReadonlyArray<string>): string =>
  execFileSync("tmux", ["-L", socket, "-f", "/dev/null", ...args], { encoding: "utf8", env: cleanEnv() })

/** A terminal in which the command runs. Its exit code is written to a file. */
const open = (name: string, args: string, env = "") => {
  const code = join(folder, `${name}.code`)
  const node = [process.execPath, ...fromSources].join(" ")
  tmux(
    "new-session",
    "-d",
    "-s",
    name,
    "-x",
    "100",
    "-y",
    "40",
    "-c",
    folder,
    `${env} ${node} ${args}; echo $? > ${code}; sleep 600`
  )
  const screen = () => tmux("capture-pane", "-p", "-e", "-t", name)
  return {
    screen,
    shows: (text: string) =>
      until(
        () => `"${text}" on ${name}:\n${screen()}`,
        () => (screen().includes(text) ? true : undefined)
      ),
    press: (...keys: ReadonlyArray<string>) => tmux("send-keys", "-t", name, ...keys),
    code: () =>
      until(`the end of ${name}`, () =>
        existsSync(code) && readFileSync(code, "utf8").endsWith("\n") ? Number(readFileSync(code, "utf8")) : undefined
      )
  }
}

afterAll(() => {
  if (hasTmux) spawnSync("tmux", ["-L", socket, "kill-server"])
})

describe.skipIf(!hasTmux)("in a terminal", () => {
  it("init asks for the template and the page, in color", async () => {
    const terminal = open("asks", "init asked --no-install")
    await terminal.shows("Which app?")
    terminal.press("Down", "Down", "Enter")
    await terminal.shows("With React?")
    terminal.press("n")
    expect(await terminal.code()).toBe(0)
    expect(terminal.screen()).toContain("\u001b[")
    expect(existsSync(join(folder, "asked/src/position.ts"))).toBe(true)
    expect(existsSync(join(folder, "asked/src/page/dom.ts"))).toBe(true)
  })

  it("CL4: Ctrl-C at a question makes nothing", async () => {
    const terminal = open("stops", "init stopped --no-install")
    await terminal.shows("Which app?")
    terminal.press("C-c")
    expect(await terminal.code()).toBe(130)
    expect(existsSync(join(folder, "stopped"))).toBe(false)
    expect(terminal.screen()).not.toMatch(/\bat \S+\.ts:\d/)
  })

  it("CL4: NO_COLOR and CI are heeded", async () => {
    const plain = open("plain", "init no-color --no-install --template chat --react", "NO_COLOR=1")
    expect(await plain.code()).toBe(0)
    expect(plain.screen()).not.toContain("\u001b[3")
    const unattended = open("unattended", "init in-ci --no-install", "CI=1")
    expect(await unattended.code()).toBe(0)
    expect(existsSync(join(folder, "in-ci/src/app.ts"))).toBe(true)
  })

  it("a step moves while it runs, and says how long it took", async () => {
    writeFileSync(join(folder, "package.json"), "{}")
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ files: ["one.ts"] }))
    writeFileSync(join(folder, "one.ts"), "export const one: string = 1")
    mkdirSync(join(folder, "node_modules"))
    symlinkSync(join(root, "node_modules/typescript"), join(folder, "node_modules/typescript"))
    const record = join(folder, "steps.txt")
    // It waits for the key until everything that it writes is recorded.
    const terminal = open("steps", "check --no-compare", "read -r key;")
    tmux("pipe-pane", "-t", "steps", `cat > ${record}`)
    terminal.press("Enter")
    expect(await terminal.code()).toBe(1)
    const isRecorded = () => /[⠋⠙⠹] types .*\d\.\d s.*✓.* types/s.test(readFileSync(record, "utf8"))
    await until("the steps on record", () => isRecorded() || undefined)
    await terminal.shows("one.ts")
    expect(terminal.screen()).toMatch(/✓.* types .*\d\.\d s/)
  })
})
