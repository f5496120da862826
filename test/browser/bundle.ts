/// <reference types="node" />
import { fileURLToPath, URL } from "node:url"
import * as Esbuild from "esbuild"

/** A script of `page` with all that it imports, as one text. React is its development build, with warnings. */
export const bundle = async (name: string): Promise<string> => {
  const { outputFiles } = await Esbuild.build({
    entryPoints: [fileURLToPath(new URL(`./page/${name}`, import.meta.url))],
    bundle: true,
    write: false,
    format: "iife",
    jsx: "automatic",
    conditions: ["source", "browser"],
    define: { "process.env.NODE_ENV": '"development"' },
    logLevel: "silent"
  })
  await Esbuild.stop()
  return outputFiles[0]!.text
}
