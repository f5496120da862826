import { Blobs } from "effect-dormouse/files"
import { memory } from "../../deployment/memory.ts"
import { makeApp, options } from "../../worker/files.ts"
import { suite } from "./fileCases.ts"

suite("in memory", async () => {
  const blobs = new Blobs.MemoryBlobs()
  const app = await memory(makeApp(blobs.layer), options)
  return { ...app, keys: async (prefix) => [...blobs.stored.keys()].filter((key) => key.startsWith(prefix)) }
})
