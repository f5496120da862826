/**
 * One page per entry of package.json, with the declarations as the source has them.
 * typedoc says what is public and what is re-exported. Its own rendering of a type names what is inherited from Effect at
 * length and leaves out what a service consists of; the source says both in a few lines, with its comments.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Converter, PageKind, ReferenceReflection, ReflectionKind } from "typedoc"
import { MarkdownTheme, ModuleRouter } from "typedoc-plugin-markdown"
import ts from "typescript"
import {
  commentBefore,
  declarationsOf,
  fileComment,
  isExtended,
  meaningOf,
  namesIn,
  saysWhatItIs
} from "./declarations.mjs"

const root = fileURLToPath(new URL("../..", import.meta.url))
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))

/** The entries by their source file, in the order of package.json: how they are imported, and their page. */
const entries = new Map(
  Object.entries(manifest.exports).flatMap(([path, { source }]) =>
    source === undefined
      ? []
      : [
          [
            join(root, source),
            {
              specifier: join(manifest.name, path),
              page: `${path === "." ? manifest.name : path.slice(2).replaceAll("/", "-")}.md`
            }
          ]
        ]
  )
)

const source = join(root, "src/")
const partsTitle = "Not exported"

/** What was converted: the symbol of a reflection, and the compiler that knows it. */
const symbols = new Map()
let checker

const isNamespace = (reflection) => reflection.kind === ReflectionKind.Namespace
const targetOf = (reflection) =>
  reflection instanceof ReferenceReflection ? reflection.tryGetTargetReflectionDeep() : undefined

/** The symbol that declares, which is another one than that of an export or of an import. */
const declaring = (symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol)

/** The anchor that a heading gets where Markdown is shown: the second one of the same text gets a number. */
const anchors = () => {
  const used = new Map()
  return (title) => {
    const slug = title
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .replaceAll(" ", "-")
    const count = used.get(slug) ?? 0
    used.set(slug, count + 1)
    return count === 0 ? slug : `${slug}-${count}`
  }
}

/** The headings of a page: its exports, and after a namespace what is in it. A value and a type of one name share one. */
const headingsOf = (module, anchor) => {
  const headings = []
  const add = (container, prefix, level) => {
    const names = new Map()
    for (const child of container.children ?? []) names.set(child.name, [...(names.get(child.name) ?? []), child])
    // What is declared on its own comes first: what follows a namespace would look like a part of it.
    const ordered = [...names].sort(([, [one]], [, [other]]) => Number(isSpace(one)) - Number(isSpace(other)))
    for (const [name, reflections] of ordered) {
      const title = `${prefix}${name}`
      headings.push({ anchor: anchor(title), level, page: entries.get(module.file).page, reflections, title })
      for (const reflection of reflections.filter(isNamespace)) add(reflection, `${title}.`, level + 1)
    }
    // typedoc leaves out what a module exports from a package.
    for (const symbol of checker.getExportsOfModule(declaring(symbols.get(container)))) {
      if (names.has(symbol.name)) continue
      const title = `${prefix}${symbol.name}`
      const { page } = entries.get(module.file)
      headings.push({ anchor: anchor(title), level, own: [declaring(symbol)], page, reflections: [], title })
    }
  }
  add(module, "", 2)
  return headings
}

/** The symbols whose declarations stand below a heading. */
const ownOf = ({ own, reflections }) =>
  own ?? [
    ...new Set(reflections.filter((one) => symbols.has(one) && !isSpace(one)).map((one) => declaring(symbols.get(one))))
  ]

/** The module of a package from which an export comes, if it is none of ours. */
const originOf = (heading) => {
  const file = ownOf(heading)[0]?.declarations[0].getSourceFile().fileName
  if (file === undefined || file.startsWith(source)) return undefined
  return file
    .split("/node_modules/")
    .at(-1)
    .replace("/dist/", "/")
    .replace(/\.d\.ts$/, "")
}

const isSpace = (reflection) => isNamespace(targetOf(reflection) ?? reflection)

class Book {
  constructor(project) {
    this.modules = (project.children ?? [project])
      .map((module) => Object.assign(module, { file: symbols.get(module).declarations[0].getSourceFile().fileName }))
      .sort((one, other) => [...entries.keys()].indexOf(one.file) - [...entries.keys()].indexOf(other.file))
    const slugs = new Map(this.modules.map((module) => [module, anchors()]))
    for (const [module, anchor] of slugs) anchor(entries.get(module.file).specifier)
    this.headings = new Map(this.modules.map((module) => [module, headingsOf(module, slugs.get(module))]))
    this.places = new Map()
    for (const heading of [...this.headings.values()].flat()) {
      for (const reflection of heading.reflections) {
        this.places.set(reflection, heading)
        const symbol = symbols.get(reflection)
        if (symbol === undefined || reflection instanceof ReferenceReflection) continue
        if (!this.places.has(declaring(symbol))) this.places.set(declaring(symbol), heading)
      }
    }
    this.parts = new Map(this.modules.map((module) => [module, this.partsOf(module, slugs.get(module))]))
  }

  /**
   * What the declarations of a page consist of and no entry exports. The first page that needs a part has it. What an
   * export extends belongs to it; of other parts, their own parts are left out.
   */
  partsOf(module, anchor) {
    const { page } = entries.get(module.file)
    anchor(partsTitle)
    const parts = []
    const look = (symbol, isPart) => {
      for (const name of declarationsOf(symbol).flatMap(({ node }) => namesIn(node))) {
        const used = meaningOf(checker, name)
        const isBase = isExtended(name)
        if (used === undefined || this.places.has(used) || (isPart && !isBase) || !saysWhatItIs(used)) continue
        if (!used.declarations[0].getSourceFile().fileName.startsWith(source)) continue
        const part = { anchor: anchor(used.name), level: 3, own: [used], page, reflections: [], title: used.name }
        this.places.set(used, part)
        parts.push(part)
        look(used, isPart || !isBase)
      }
    }
    for (const heading of this.headings.get(module)) {
      if (originOf(heading) === undefined) for (const symbol of ownOf(heading)) look(symbol, false)
    }
    return parts
  }

  linkTo({ anchor, page, title }, from) {
    return `[${title}](${page === from ? "" : page}#${anchor})`
  }

  member(heading) {
    const { level, page, reflections, title } = heading
    const parts = [`${"#".repeat(level)} ${title}`]
    const target = reflections[0] && targetOf(reflections[0])
    if (target !== undefined) {
      const place = this.places.get(target)
      if (place === undefined) throw new Error(`${title} of ${page} is exported from somewhere else`)
      return [...parts, `The same as ${this.linkTo(place, page)}.`].join("\n\n")
    }
    for (const reflection of reflections.filter(isNamespace)) {
      const comment = fileComment(declaring(symbols.get(reflection)).declarations[0].getSourceFile())
      if (comment !== "") parts.push(comment)
    }
    const origin = originOf(heading)
    if (origin !== undefined) return [...parts, `That of \`${origin}\`.`].join("\n\n")
    const used = new Set()
    let said = ""
    for (const declaration of ownOf(heading).flatMap(declarationsOf)) {
      const comment = commentBefore(declaration)
      if (!said.startsWith(comment)) parts.push(comment)
      said = comment
      parts.push(`\`\`\`ts\n${declaration.text(checker)}\n\`\`\``)
      for (const name of namesIn(declaration.node)) {
        const place = this.places.get(meaningOf(checker, name))
        if (place !== undefined && place !== heading && !place.reflections.some(isNamespace))
          used.add(this.linkTo(place, page))
      }
    }
    if (used.size > 0) parts.push(`See ${[...used].join(", ")}.`)
    return parts.join("\n\n")
  }

  page(module) {
    const { page, specifier } = entries.get(module.file)
    const headings = this.headings.get(module)
    const comment = fileComment(symbols.get(module).declarations[0].getSourceFile())
    const contents = headings.filter(({ level }) => level === 2).map((heading) => this.linkTo(heading, page))
    const parts = this.parts.get(module)
    return [
      `# ${specifier}`,
      comment,
      contents.join(" · "),
      ...headings.map((heading) => this.member(heading)),
      ...(parts.length === 0 ? [] : [`## ${partsTitle}`, "What declarations consist of, and no entry exports."]),
      ...parts.map((part) => this.member(part))
    ].join("\n\n")
  }

  index() {
    const lines = this.modules.map((module) => {
      const { page, specifier } = entries.get(module.file)
      const comment = fileComment(symbols.get(module).declarations[0].getSourceFile())
      const [sentence] = comment.replaceAll("\n", " ").split(/(?<=\.) (?=[A-Z`])/)
      return `- [${specifier}](${page}): ${sentence}`
    })
    return [
      "# Reference",
      "Every export of every entry, with its declaration and its comments. `npm run reference` generates these pages from the source.",
      "A declaration is that of the source, without bodies. Where the source leaves a type to the compiler, the page has the type that it finds. What they consist of and no entry exports is at the end of a page.",
      lines.join("\n")
    ].join("\n\n")
  }
}

export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    checker = context.checker
    const symbol = context.getSymbolFromReflection(reflection)
    if (symbol !== undefined) symbols.set(reflection, symbol)
  })

  let book
  app.renderer.defineRouter(
    "entries",
    class extends ModuleRouter {
      buildPages(project) {
        book = new Book(project)
        const pages = [
          { kind: PageKind.Reflection, model: project, url: "README.md" },
          ...book.modules.map((module) => ({
            kind: PageKind.Reflection,
            model: module,
            url: entries.get(module.file).page
          }))
        ]
        for (const { model, url } of pages) this.fullUrls.set(model, url)
        return pages
      }
    }
  )
  app.renderer.defineTheme(
    "declarations",
    class extends MarkdownTheme {
      render({ model }) {
        return `${model.isProject() ? book.index() : book.page(model)}\n`
      }
      getNavigation() {
        return []
      }
    }
  )
}
