/**
 * The files of a process without the engine, from `Jobs.layer` with `files`: what answers the requests that their URLs are for.
 */
import * as Context from "effect/Context"

/** Answers requests for files: those whose path begins with `/files/`. */
export class FileServer extends Context.Service<
  FileServer,
  {
    /** What the URLs of files are made of, and what takes uploads. Never rejects. */
    readonly respond: (request: Request) => Promise<Response>
  }
>()("effect-dormouse/FileServer") {}
