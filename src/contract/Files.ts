/**
 * What an app has that keeps files, and what it needs of the engine that runs it.
 * `Files.make` of `effect-dormouse/files` makes it: an app without files does not bundle it.
 */
import type * as Context from "effect/Context"
import type * as Layer from "effect/Layer"
import type * as Api from "./Api.ts"
import type { Calls } from "./CallsTag.ts"
import type { Jobs } from "./Jobs.ts"
import type { AnyTable } from "./TablePlan.ts"
import type { Any, Expiring } from "./Transactional.ts"

/** The files of an app. `R` is what stores their bytes. */
export interface Files<out R = unknown> {
  /** The rpcs by which the Worker reads and writes the rows of files, and their handlers in the object. */
  readonly api: Api.Declared<any>
  readonly handlers: Layer.Layer<never, never, any>
  /** The files of an action, over its calls of `api`. */
  readonly servicesOver: (calls: Calls["Service"]) => Context.Context<any>
  /** The jobs of the app, with the queue that deletes bytes. */
  readonly withJobs: (jobs: Jobs | undefined) => Jobs
  /** The type of what stores bytes. */
  readonly "~effect-dormouse/Files"?: R
  /** The files of one object of an app with these tables. `place` is its tenant, as callers name it, and its name. */
  readonly open: (
    tables: ReadonlyArray<AnyTable>,
    place: () => Place
  ) => {
    readonly transactional: ReadonlyArray<Any>
    readonly expiring: ReadonlyArray<Expiring>
  }
  /** The files as the Worker has them. `services` are those of actions, which store the bytes. */
  readonly serve: (services: Context.Context<never>) => ServedFiles
}

/** The files of an app in the Worker. */
export interface ServedFiles {
  /** Answers a request for a file. */
  readonly respond: (request: FileRequest) => Promise<Response>
  /** Deletes the bytes of all files of an object, whose tenant was deleted. */
  readonly removeAll: (object: string) => Promise<void>
}

/** A tenant, as its callers name it, and its object, when a registry of tenants gave it one of another name. */
export interface Place {
  readonly tenant: string
  readonly object?: string
}

/** A request for a file. */
export interface FileRequest {
  readonly request: Request
  readonly url: URL
  /** Calls of `api` in the object of a tenant. Undefined when there can be no such tenant. */
  readonly callsOf: (place: Place) => Calls["Service"] | undefined
}

/** How the paths of files begin. */
export const filesPath = "/files/"

/** What the path of a file consists of: the tenant, the file, and for a download its name. */
export const segmentsOf = ({ pathname }: URL): ReadonlyArray<string> => pathname.slice(filesPath.length).split("/")

/** The place that the URL of a file names. */
export const placeIn = (url: URL): Place => {
  const [tenant = ""] = segmentsOf(url)
  const object = url.searchParams.get("object")
  return { tenant, ...(object !== null && { object }) }
}
