/**
 * The title and the description of an HTML page, as its first bytes arrive.
 * Those that are made for previews (Open Graph) come first.
 */
import { Parser } from "htmlparser2"

/** Reads a page until its head has ended. */
export class HeadReader {
  /** Whether nothing of interest follows. */
  isDone = false
  private readonly texts = new Map<string, string>()
  private readonly decoder: TextDecoder
  private readonly parser = new Parser({
    onopentag: (tag, { content = "", name = "", property = "" }) => {
      if (tag === "body") this.isDone = true
      if (tag === "title" && !this.texts.has("title")) this.isTitle = true
      const key = (property || name).toLowerCase()
      if (tag === "meta" && !this.texts.has(key)) this.texts.set(key, content)
    },
    ontext: (text) => {
      if (this.isTitle) this.texts.set("title", (this.texts.get("title") ?? "") + text)
    },
    onclosetag: (tag) => {
      if (tag === "title") this.isTitle = false
      if (tag === "head") this.isDone = true
    }
  })
  private isTitle = false

  constructor(contentType: string) {
    this.decoder = decoderOf(/charset="?([\w-]+)/i.exec(contentType)?.[1] ?? "utf-8")
  }

  write(bytes: Uint8Array): void {
    this.parser.write(this.decoder.decode(bytes, { stream: true }))
  }

  get title(): string {
    return this.text(200, "og:title", "title")
  }
  get description(): string {
    return this.text(300, "og:description", "description")
  }

  /** The first of these that has a text, in one line, cut to a length. */
  private text(length: number, ...keys: ReadonlyArray<string>): string {
    const texts = keys.map((key) => (this.texts.get(key) ?? "").replace(/\s+/g, " ").trim())
    const letters = [...(texts.find((text) => text !== "") ?? "")]
    return letters.length > length ? `${letters.slice(0, length - 1).join("")}…` : letters.join("")
  }
}

const decoderOf = (charset: string): TextDecoder => {
  try {
    return new TextDecoder(charset)
  } catch {
    return new TextDecoder()
  }
}
