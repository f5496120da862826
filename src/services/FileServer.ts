/**
 * The files of a process without the engine, from `Jobs.layer` with `files`.
 * It answers the requests that the URLs of files are for; the author's HTTP server hands them over.
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
