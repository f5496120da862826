/// <reference types="node" />
import { execFileSync, spawnSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath, URL } from "node:url"
import * as Esbuild from "esbuild"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { packed } from "./packed.ts"

/** The package as published, in a project that depends only on it and on `effect`. */

const root = fileURLToPath(new URL("..", import.meta.url))
const project = mkdtempSync(join(tmpdir(), "dormouse-package-"))
const { dependencies, devDependencies, engines, exports, peerDependencies } = JSON.parse(
  readFileSync(join(root, "package.json"), "utf8")
)
const entries = Object.keys(exports)
  .filter((entry) => entry !== "./package.json")
  .map((entry) => `effect-dormouse${entry.slice(1)}`)

const write = (file: string, text: string) => {
  mkdirSync(dirname(join(project, file)), { recursive: true })
  writeFileSync(join(project, file), text)
}

/** The errors of the compiler. Several of its threads would check much twice. */
const compile = (folder: string): string => {
  const compiler = join(root, "node_modules/typescript/bin/tsc")
  const args = [compiler, "-p", folder, "--pretty", "false", "--singleThreaded"]
  return spawnSync(process.execPath, args, { encoding: "utf8" }).stdout
}

beforeAll(async () => {
  const tarball = await packed()
  const home = join(project, "node_modules/effect-dormouse")
  mkdirSync(home, { recursive: true })
  execFileSync("tar", ["xzf", tarball, "--strip-components=1", "-C", home])
  const types = ["@types/node", "@types/react", "csstype", "@cloudflare/workers-types", "undici-types"]
  for (const name of [...Object.keys({ ...dependencies, ...peerDependencies }), ...types]) {
    mkdirSync(dirname(join(project, "node_modules", name)), { recursive: true })
    symlinkSync(join(root, "node_modules", name), join(project, "node_modules", name))
  }
  write("package.json", JSON.stringify({ type: "module" }))
  for (const file of ["schema", "api", "handlers", "app", "worker"]) {
    cpSync(join(root, `examples/minimal/${file}.ts`), join(project, `chat/${file}.ts`))
  }
})

afterAll(() => rmSync(project, { recursive: true, force: true }))

describe("the published package", () => {
  it("asks for the version of Node that the README names", () => {
    const [, version] = /It needs Node (\d+) or newer/.exec(readFileSync(join(root, "README.md"), "utf8")) ?? []
    expect(engines.node).toBe(`>=${version}`)
  })

  it("names in the README whatever it depends on that asks for a newer Node: npm warns of each", () => {
    const readme = readFileSync(join(root, "README.md"), "utf8")
    const named = /npm warns that (.*?) and their parts/s.exec(readme)![1]!.match(/(?<=`)[^`, ]+(?=`)/g)!
    const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"))
    const newer = Object.keys({ ...dependencies, ...devDependencies }).filter((name) => {
      const required = /^>=\s*(\d+)/.exec(packages[`node_modules/${name}`].engines?.node ?? "")
      return required !== null && Number(required[1]) > Number(engines.node.slice(2))
    })
    expect(newer.sort()).toEqual(named.sort())
  })

  it("has entries that Node imports, all but those of Cloudflare", () => {
    const imported = entries.filter((entry) => !/\/cloudflare(\/|$)/.test(entry))
    const imports = imported.map((entry) => `["${entry}", await import("${entry}")]`).join(", ")
    write("import.js", `for (const [name, entry] of [${imports}]) console.log(name, Object.keys(entry).length > 0)`)
    const { stderr, stdout } = spawnSync(process.execPath, ["import.js"], { cwd: project, encoding: "utf8" })
    expect(stderr).toBe("")
    expect(stdout.trim().split("\n")).toEqual(imported.map((entry) => `${entry} true`))
  })

  it.each(["NodeNext", "Bundler"])("the chat type-checks against it by the rules of %s", (moduleResolution) => {
    write(
      "tsconfig.json",
      JSON.stringify({
        compilerOptions: {
          strict: true,
          exactOptionalPropertyTypes: true,
          noEmit: true,
          target: "ES2024",
          lib: ["ES2024"],
          module: moduleResolution === "NodeNext" ? "NodeNext" : "ESNext",
          moduleResolution,
          allowImportingTsExtensions: true,
          skipLibCheck: true,
          types: ["node", "@cloudflare/workers-types"]
        },
        include: ["chat"]
      })
    )
    expect(compile(project)).toBe("")
  })

  /** The errors of the compiler in a folder of the project. */
  const typeCheck = (folder: string, files: Readonly<Record<string, string>>, options: object): string => {
    for (const [file, text] of Object.entries(files)) write(`${folder}/${file}`, text)
    write(
      `${folder}/tsconfig.json`,
      JSON.stringify({
        compilerOptions: {
          strict: true,
          exactOptionalPropertyTypes: true,
          noImplicitOverride: true,
          noEmit: true,
          target: "ES2024",
          module: "NodeNext",
          moduleResolution: "NodeNext",
          allowImportingTsExtensions: true,
          ...options
        },
        include: ["."]
      })
    )
    return compile(join(project, folder))
  }

  // `TestApp`, and what is made of it, shows its databases, which are connections of Node.
  const typed = entries.filter((entry) => !/^effect-dormouse\/(node|testing)$/.test(entry))
  const imports = typed.map((entry, index) => `import * as entry${index} from "${entry}"\n`).join("")
  const names = typed.map((_, index) => `entry${index}`).join(", ")

  it("R3: every entry type-checks, and the classes are extended, without the types of Workers", () => {
    const worker = `
      import * as Effect from "effect/Effect"
      import { Cloudflare } from "effect-dormouse/cloudflare"
      import { Database } from "effect-dormouse/storage"
      import { app } from "../chat/app.ts"
      const served = Cloudflare.serve(app)
      export class TenantObject extends served.TenantObject {
        readonly layer = Database.layerCloudflare(this.ctx.storage)
        constructor(ctx: Cloudflare.ObjectState, env: object) {
          super(ctx, env)
          ctx.setWebSocketAutoResponse()
        }
        override webSocketMessage(socket: Cloudflare.ObjectSocket, data: string | ArrayBuffer): void {
          if (data === "stop") this.ctx.abort("stopped")
          // @ts-expect-error: the control, a context of any type would have it
          this.ctx.nothing
          super.webSocketMessage(socket, data)
        }
        name = () => [this.ctx.id.name, this.run(Effect.void)]
      }
      export default class extends served.worker {
        override async fetch(request: Request): Promise<Response> {
          if (request.url.endsWith("/hello")) return new Response(String(this.env))
          this.ctx.waitUntil(Promise.resolve())
          return super.fetch(request)
        }
      }`
    const files = { "worker.ts": worker, "entries.ts": `${imports}export default [${names}]` }
    // Effect's own declarations need what browsers and Workers have.
    expect(typeCheck("plain", files, { lib: ["ES2023", "DOM"], types: [], skipLibCheck: false })).toBe("")
    const bare = `
      import { Cloudflare } from "effect-dormouse/cloudflare"
      import { app } from "../chat/app.ts"
      export const { TenantObject, worker } = Cloudflare.serve(app)
      export default worker`
    expect(typeCheck("bare", { "worker.ts": bare }, { lib: ["ES2023"], types: [], skipLibCheck: true })).toBe("")
  })

  it("R3: the classes are what the types of Workers, and those that wrangler generates, expect", () => {
    const worker = `
      import { Auth } from "effect-dormouse/auth"
      import { Cloudflare as Dormouse } from "effect-dormouse/cloudflare"
      import { Database } from "effect-dormouse/storage"
      import { app } from "../chat/app.ts"
      const served = Dormouse.serve(app, { auth: Auth.layerAnonymous, enter: ({ identity }) => identity.subject === null })
      export class TenantObject extends served.TenantObject {
        declare protected readonly ctx: DurableObjectState
        constructor(ctx: DurableObjectState, env: Env) {
          super(ctx, env)
          void Database.layerCloudflare(ctx.storage)
        }
        override webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): void {
          this.ctx.storage.kv.put("last", socket.readyState)
          super.webSocketMessage(socket, data)
        }
      }
      export const named: new (ctx: DurableObjectState, env: Env) => Rpc.DurableObjectBranded = TenantObject
      export default class extends served.worker {
        declare protected readonly ctx: ExecutionContext
        override async fetch(request: Request): Promise<Response> {
          const stub = this.env.TENANT_OBJECT.getByName("main")
          if (request.url.endsWith("/stub")) return stub.fetch(request)
          if (request.url.endsWith("/exports")) return this.ctx.exports.TenantObject.getByName("main").fetch(request)
          return super.fetch(request)
        }
      }`
    const generated = `
      interface Env extends Cloudflare.Env {}
      declare namespace Cloudflare {
        interface GlobalProps {
          mainModule: typeof import("./worker.ts")
          durableNamespaces: "TenantObject"
        }
        interface Env {
          readonly TENANT_OBJECT: DurableObjectNamespace<import("./worker.ts").TenantObject>
        }
      }`
    const files = { "worker.ts": worker, "worker-configuration.d.ts": generated }
    const types = ["@cloudflare/workers-types"]
    const errors = typeCheck("generated", files, { lib: ["ES2024"], types, skipLibCheck: false }).split("\n")
    // Effect's own declarations name the `Storage` of browsers.
    expect(errors.filter((line) => line !== "" && !line.includes("node_modules/effect/"))).toEqual([])
  })

  const bundle = async (entry: string, options: Esbuild.BuildOptions) => {
    const { metafile } = await Esbuild.build({
      entryPoints: [join(project, entry)],
      bundle: true,
      write: false,
      format: "esm",
      logLevel: "silent",
      metafile: true,
      ...options
    })
    return Object.values(metafile!.outputs).flatMap(({ imports }) => imports.map(({ path }) => path))
  }

  it("the Worker is bundled for workerd", async () => {
    const conditions = ["workerd", "worker", "browser"]
    expect(await bundle("chat/worker.ts", { conditions, external: ["cloudflare:*"] })).toContain("cloudflare:workers")
  })

  it("everything except the platforms is bundled for browsers", async () => {
    const portable = entries.filter((entry) => !/\/(cloudflare(\/queues)?|files\/node|node|testing)$/.test(entry))
    const imports = portable.map((entry, index) => `export * as entry${index} from "${entry}"\n`)
    write("browser.ts", `${imports.join("")}export * from "./chat/api.ts"\n`)
    expect(await bundle("browser.ts", { platform: "browser" })).toEqual([])
  })
})
