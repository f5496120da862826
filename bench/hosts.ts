/// <reference types="node" />

/** How a subject is run: as a worker in a workerd of its own, or as a Node process of its own. */
import { fork } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Miniflare } from "miniflare"
import type { Subject } from "./subjects.ts"

export interface Address {
  readonly host: string
  readonly hostname: string
  readonly port: string
}

/** A subject that runs. */
export interface Host {
  readonly address: Address
  /** Takes the object out of memory as hibernation would, with its sockets left open. */
  readonly evict: () => Promise<void>
  readonly stop: () => Promise<void>
}

export async function startWorkerd(subject: Subject, code: string): Promise<Host> {
  const name = "worker"
  const miniflare = new Miniflare({
    workers: [
      {
        config: {
          type: "worker",
          name,
          compatibilityDate: "2026-09-01",
          manifest: { mainModule: "worker.js", modules: { "worker.js": { type: "esm", contents: code } } },
          exports: { [subject.object]: { type: "durable-object", storage: "sqlite" } },
          env: Object.fromEntries(
            Object.entries(subject.bindings).map(([key, binding]) => {
              if (binding === "object") {
                return [key, { type: "durable-object", worker: name, exportName: subject.object } as const]
              }
              if (binding === "kv" || binding === "r2") return [key, { type: binding } as const]
              return [key, { type: "text", value: binding.text } as const]
            })
          )
        },
        // Straight into the worker: Miniflare's own entry worker, made for pages that reload, would be measured too.
        dev: { unsafeDirectSockets: [{}] }
      }
    ]
  })
  return {
    address: await miniflare.unsafeGetDirectURL(name),
    evict: () => miniflare.unsafeEvictDurableObject(name, subject.object, { name: "main", webSockets: "hibernate" }),
    stop: () => miniflare.dispose()
  }
}

/** Starts the entry with the path of its database as its argument; it sends the port on which it listens. */
export async function startNode(subject: Subject): Promise<Host> {
  const directory = await mkdtemp(join(tmpdir(), "dormouse-bench-"))
  const child = fork(subject.entry, [join(directory, "database.sqlite")])
  const ended = once(child, "exit")
  const port: unknown = await Promise.race([
    once(child, "message").then(([message]) => message),
    ended.then(([code]) => Promise.reject(new Error(`The process ended with ${code}`)))
  ])
  return {
    address: { host: `127.0.0.1:${port}`, hostname: "127.0.0.1", port: String(port) },
    evict: () => Promise.reject(new Error("A Node process has no object to evict")),
    stop: async () => {
      child.kill()
      await ended
      await rm(directory, { recursive: true })
    }
  }
}
