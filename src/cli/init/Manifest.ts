/**
 * The package.json of an app.
 * In a folder that has one, what an app needs is added to it, and what the author wrote stays.
 */
import type * as Schema from "effect/Schema"
import * as NodeVersion from "../NodeVersion.ts"
import type { PackageManager } from "../Project.ts"
import type { ManifestPart } from "./Templates.ts"

type Json = Schema.Json
type Properties = { readonly [name: string]: Json }

const isProperties = (json: Json | undefined): json is Properties =>
  typeof json === "object" && json !== null && !Array.isArray(json)

/** Both, with the properties of the first where they differ. Objects are merged. */
export const merge = (kept: Properties, added: Properties): Properties => {
  const merged: Record<string, Json> = { ...kept }
  for (const [name, value] of Object.entries(added)) {
    const before = merged[name]
    if (before === undefined) merged[name] = value
    else if (isProperties(before) && isProperties(value)) merged[name] = merge(before, value)
  }
  return merged
}

/** Which versions an app gets. */
export interface Versions {
  /** That of this package, or where to get it from. */
  readonly dormouse: string
  /** The versions that this package is tested with. */
  readonly tested: Readonly<Record<string, string>>
}

/** A part with versions for its dependencies. */
const withVersions = (part: Properties, { dormouse, tested }: Versions): Properties =>
  Object.fromEntries(
    Object.entries(part).map(([name, value]) => {
      if (!/ependencies$/.test(name) || !isProperties(value)) return [name, value]
      const versions = Object.entries(value).map(([dependency, version]): readonly [string, Json] => {
        if (version === "__version__") return [dependency, dormouse]
        return [dependency, version === "__own__" ? (tested[dependency] ?? "latest") : version]
      })
      return [name, Object.fromEntries(versions.sort(([one], [other]) => (one < other ? -1 : 1)))]
    })
  )

/** The packages whose install scripts an app needs: each manager wants them to be allowed in its own way. */
const scripts = ["esbuild", "node", "workerd"]

const allowed = (packageManager: PackageManager): Properties => {
  switch (packageManager) {
    case "npm":
      return { allowScripts: Object.fromEntries(scripts.map((name) => [name, true])) }
    case "pnpm":
      // It reads them from pnpm-workspace.yaml.
      return {}
    case "bun":
      return { trustedDependencies: scripts }
  }
}

/** What an app needs of its package.json. */
export const needed = (
  parts: ReadonlyArray<ManifestPart>,
  options: { readonly packageManager: PackageManager; readonly versions: Versions; readonly node: string }
): Properties => {
  // An older Node is left alone: the scripts of the app run on one of its own.
  const node: Properties = NodeVersion.isTooOld(options.node) ? { devDependencies: { node: "24" } } : {}
  return withVersions([...parts, node, allowed(options.packageManager)].reduce(merge), options.versions)
}

/** The text of a package.json. */
export const print = (manifest: Properties): string => `${JSON.stringify(manifest, null, 2)}\n`
