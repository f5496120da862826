/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import { gzipSync } from "node:zlib"
import { build, type Rollup } from "vite"
import { expect, it } from "vitest"

/** The code that a page must load before the chat can call its backend, as Vite bundles it. */

const root = fileURLToPath(new URL("../..", import.meta.url))
const kilobyte = 1024

/** The gzipped bytes of a module and of everything that it imports statically, without React. */
const bundled = async (code: string): Promise<number> => {
  const entry = "virtual:entry"
  const built = await build({
    root,
    configFile: false,
    logLevel: "silent",
    // The conditions of a published package, except that the source is measured.
    resolve: { conditions: ["source", "module", "browser", "import", "default"] },
    plugins: [
      {
        name: "entry",
        resolveId: (id) => (id === entry ? `${root}examples/minimal/entry.ts` : null),
        load: (id) => (id.endsWith("/examples/minimal/entry.ts") ? code : null)
      }
    ],
    build: { write: false, minify: true, target: "es2022", rollupOptions: { input: entry, external: ["react"] } }
  })
  const chunks = (built as Rollup.RollupOutput).output.filter((output) => output.type === "chunk")
  const loaded = new Set<string>()
  const load = (name: string): number => {
    const chunk = chunks.find(({ fileName }) => fileName === name)
    if (chunk === undefined || loaded.has(name)) return 0
    loaded.add(name)
    return chunk.imports.reduce((bytes, name) => bytes + load(name), gzipSync(chunk.code, { level: 9 }).length)
  }
  return load(chunks.find(({ isEntry }) => isEntry)!.fileName)
}

const client = `
  import { Client } from "effect-dormouse/client"
  import * as Effect from "effect/Effect"
  import { ChatApi } from "./api.ts"
  const chat = Client.make(ChatApi, { url: location.origin })
  Effect.runFork(Effect.scoped(Effect.flatMap(chat, (chat) => chat.mutate("channels.create", { name: "general" }))))
`
const react = `
  import { createHooks } from "effect-dormouse/react"
  import { ChatApi } from "./api.ts"
  export const hooks = createHooks(ChatApi)
`
const shared = `
  import { Client } from "effect-dormouse/client"
  import { SharedSocket } from "effect-dormouse/shared-socket"
  import * as Effect from "effect/Effect"
  import { ChatApi } from "./api.ts"
  const chat = Effect.provide(Client.make(ChatApi, { url: location.origin }), SharedSocket.layer())
  Effect.runFork(Effect.scoped(Effect.flatMap(chat, (chat) => chat.mutate("channels.create", { name: "general" }))))
`
const atoms = `
  import { Atoms } from "effect-dormouse/atoms"
  import { Client } from "effect-dormouse/client"
  import { ChatApi } from "./api.ts"
  export const atoms = Atoms.make(Client.make(ChatApi, { url: location.origin }))
`
const topicAtoms = `${atoms}
  import { TopicAtoms } from "effect-dormouse/pubsub/atoms"
  export const topics = TopicAtoms.make(atoms)
`

/** Without React an application makes its registry itself. */
const registry = `${atoms}
  import * as AtomRegistry from "effect/reactivity/AtomRegistry"
  export const registry = AtomRegistry.make()
  globalThis.registry = registry
`
const atomsInReact = `${registry}
  import * as hooks from "effect-dormouse/atoms/react"
  globalThis.hooks = { ...hooks }
`

it("C16: the client and a contract are 56 KB at most, the hooks of React 4 KB more, and the atoms of topics 2 KB more", async () => {
  const [withoutReact, withReact] = await Promise.all([bundled(client), bundled(react)])
  expect(withoutReact).toBeGreaterThan(30 * kilobyte)
  expect(withoutReact).toBeLessThanOrEqual(56 * kilobyte)
  expect(withReact - withoutReact).toBeLessThanOrEqual(4 * kilobyte)
  const [withoutTopics, withTopics] = await Promise.all([bundled(atoms), bundled(topicAtoms)])
  expect(withTopics - withoutTopics).toBeLessThanOrEqual(2 * kilobyte)
  const [withShared, withRegistry, atomsWithReact] = await Promise.all([shared, registry, atomsInReact].map(bundled))
  expect(withShared! - withoutReact).toBeLessThanOrEqual(4 * kilobyte)
  expect(atomsWithReact! - withRegistry!).toBeLessThanOrEqual(2 * kilobyte)
  console.info(
    `a shared socket ${withShared! - withoutReact} bytes more, atoms in React ${atomsWithReact! - withRegistry!} more`
  )
  console.info(`atoms ${withoutTopics} bytes, topics ${withTopics - withoutTopics} more`)
  console.info(`client ${withoutReact} bytes, React ${withReact - withoutReact} more`)
})
