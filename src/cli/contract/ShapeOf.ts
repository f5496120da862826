/**
 * The shape of a schema: what its JSON codec reads, which is what the clients of an app send and are sent.
 * What JSON Schema cannot say is kept beside it, so that a comparison knows that it does not know.
 */
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import { jsonCodec } from "../../protocol/JsonCodec.ts"
import { type Check, type Literal, never, type Shape } from "./Shape.ts"

/** The JSON of a schema, as it is on the wire. */
export const shapeOf = (schema: Schema.Top): Shape => new Walk().root(jsonCodec(schema).ast)

/** The links that JSON itself needs, for numbers that are not finite, for `undefined` and for unknown values. */
const standardLinks = new Set(
  [Schema.Number, Schema.Undefined, Schema.Void, Schema.Unknown, Schema.ObjectKeyword].flatMap(
    (schema) => Schema.toCodecJson(schema).ast.encoding ?? []
  )
)

/** The end of the encodings of a node: what is on the wire. */
const encodedOf = (ast: SchemaAST.AST): SchemaAST.AST => {
  const link = ast.encoding?.at(-1)
  return link === undefined ? ast : encodedOf(link.to)
}

class Walk {
  /** The nodes around the current one, with the names of those that refer to themselves. */
  readonly #around = new Map<SchemaAST.AST, string | undefined>()
  readonly #defs: { [name: string]: Shape } = {}
  #recursive = 0

  root(ast: SchemaAST.AST): Shape {
    const shape = this.#walk(ast)
    return this.#recursive === 0 ? shape : { ...shape, $defs: this.#defs }
  }

  #walk(ast: SchemaAST.AST): Shape {
    const links = ast.encoding
    if (links === undefined) return this.#once(ast)
    const first = links[0]
    if (links.length === 1 && standardLinks.has(first)) return this.#node(ast)
    const encoded = this.#walk(links.at(-1)!.to)
    if (links.length === 1 && ast._tag === "Declaration" && ast.checks === undefined && isClass(ast, first))
      return encoded
    const between = links.slice(0, -1).map((link) => this.#node(link.to))
    const decoded = this.#node(ast)
    return {
      ...encoded,
      "x-decoded": between.length === 0 ? decoded : { ...decoded, prefixItems: between }
    }
  }

  /** A node that is inside itself becomes a reference. */
  #once(ast: SchemaAST.AST): Shape {
    const target = ast._tag === "Suspend" ? encodedOf(ast.thunk()) : ast
    if (this.#around.has(target)) {
      const name = this.#around.get(target) ?? `recursive${++this.#recursive}`
      this.#around.set(target, name)
      return { $ref: `#/$defs/${name}` }
    }
    if (ast._tag === "Suspend") return this.#walk(ast.thunk())
    this.#around.set(ast, undefined)
    const shape = this.#node(ast)
    const name = this.#around.get(ast)
    this.#around.delete(ast)
    if (name === undefined) return shape
    this.#defs[name] = shape
    return { $ref: `#/$defs/${name}` }
  }

  /** A node itself, without its encoding. */
  #node(ast: SchemaAST.AST): Shape {
    const checks = [...(ast.checks ?? []), ...("encodingChecks" in ast ? (ast.encodingChecks ?? []) : [])]
    return withChecks(this.#bare(ast), checks.flatMap(flatten))
  }

  #bare(ast: SchemaAST.AST): Shape {
    switch (ast._tag) {
      case "Any":
      case "Unknown":
        return {}
      case "Never":
        return never
      case "Null":
      case "Undefined":
      case "Void":
        return { type: "null" }
      case "Boolean":
        return { type: "boolean" }
      case "String":
        return { type: "string" }
      case "Number":
        return { type: "number", "x-nonFinite": true }
      case "Literal":
        return isLiteral(ast.literal) ? { enum: [ast.literal] } : special("bigint", String(ast.literal))
      case "Enum":
        return { enum: ast.enums.map(([, value]) => value) }
      case "TemplateLiteral":
        return {
          type: "string",
          "x-checks": [{ id: "template", payload: asJson(ast.parts.map((part) => this.#walk(part))) }]
        }
      case "ObjectKeyword":
        return {
          anyOf: [
            { type: "array", items: {} },
            { type: "object", additionalProperties: {} }
          ]
        }
      case "Arrays":
        return this.#array(ast)
      case "Objects":
        return this.#object(ast)
      case "Union":
        return this.#union(ast)
      case "Suspend":
        return this.#walk(ast.thunk())
      case "Declaration":
        return declaration(ast)
      case "BigInt":
      case "Symbol":
      case "UniqueSymbol":
        return special(ast._tag, null)
    }
  }

  #array({ elements, rest }: SchemaAST.Arrays): Shape {
    const [item, ...trailing] = rest.map((ast) => this.#walk(ast))
    return {
      type: "array",
      minItems: elements.filter((element) => !isOptional(element)).length + trailing.length,
      ...(elements.length > 0 && { prefixItems: elements.map((element) => this.#walk(element)) }),
      items: item ?? never,
      ...(trailing.length > 0 && { "x-checks": [{ id: "trailing", payload: asJson(trailing) }] })
    }
  }

  #object({ indexSignatures, propertySignatures }: SchemaAST.Objects): Shape {
    // The schema takes everything but null. Clients send an object: their types say `{}`.
    if (propertySignatures.length === 0 && indexSignatures.length === 0) return { type: "object" }
    const properties = propertySignatures.map(({ name, type }) => [String(name), this.#walk(type)] as const)
    const plain = indexSignatures.filter(({ parameter }) => isPlainKey(parameter))
    const special_ = indexSignatures.filter(({ parameter }) => !isPlainKey(parameter))
    return {
      type: "object",
      ...(properties.length > 0 && { properties: Object.fromEntries(properties) }),
      ...(properties.length > 0 && {
        required: propertySignatures.filter(({ type }) => !isOptional(type)).map(({ name }) => String(name))
      }),
      ...(plain[0] !== undefined && { additionalProperties: this.#walk(plain[0].type) }),
      ...(special_.length > 0 && {
        "x-checks": special_.map(({ parameter, type }) => ({
          id: "keys",
          payload: asJson([this.#walk(parameter), this.#walk(type)])
        }))
      })
    }
  }

  #union({ options, types }: SchemaAST.Union): Shape {
    const members = types.map((type) => this.#walk(type))
    if (options?.mode === "oneOf") return { anyOf: members, "x-checks": [{ id: "oneOf", payload: asJson(members) }] }
    return members.length === 0 ? never : { anyOf: members }
  }
}

const isLiteral = (value: SchemaAST.LiteralValue): value is Exclude<Literal, null> => typeof value !== "bigint"

/** Whether a field may be missing on the wire. */
const isOptional = (ast: SchemaAST.AST): boolean => encodedOf(ast).context?.isOptional === true

const isPlainKey = (ast: SchemaAST.AST): boolean =>
  ast._tag === "String" && ast.checks === undefined && ast.encoding === undefined

/** Values that are not JSON themselves, or of which JSON Schema says nothing. */
const special = (id: string, payload: Check["payload"]): Shape => ({ "x-checks": [{ id, payload }] })

/** A type that is no structure, such as a class or a date. Effect's own are known by their names. */
const declaration = (ast: SchemaAST.Declaration): Shape => {
  const known = representationOf(ast.annotations)
  if (known === undefined) return special("declaration", null)
  if (known.id === "effect/schema/Json" || known.id === "effect/schema/MutableJson") return {}
  return special(known.id, known.payload)
}

/** The annotation by which Effect knows a class that is made from a struct. */
const constructorKey = "~constructor"

/** Whether a link only makes the instance of a class, which cannot fail: the class's own transformation, and no other. */
const isClass = ({ annotations, typeParameters }: SchemaAST.Declaration, link: SchemaAST.Link): boolean => {
  const describe: unknown = annotations?.[constructorKey]
  const described: unknown = typeof describe === "function" ? describe(typeParameters) : undefined
  if (typeof described !== "object" || described === null) return false
  const own: unknown = Reflect.get(described, "link")
  return own instanceof SchemaAST.Link && own.transformation === link.transformation
}

type Filter = Extract<SchemaAST.Check<any>, { readonly _tag: "Filter" }>

const flatten = (check: SchemaAST.Check<any>): ReadonlyArray<Filter> =>
  check._tag === "Filter" ? [check] : check.checks.flatMap(flatten)

const representationOf = (annotations: object | undefined): Check | undefined => {
  const found: unknown = annotations === undefined ? undefined : Reflect.get(annotations, "representation")
  if (typeof found !== "object" || found === null || !("id" in found) || typeof found.id !== "string") return undefined
  return { id: found.id, payload: asJson(Reflect.get(found, "payload")) }
}

/** A filter: its name and arguments if it is one of Effect's, otherwise what it says of itself. */
const checkOf = ({ annotations }: Filter): Check => {
  const { description, expected, identifier, title } = annotations ?? {}
  return representationOf(annotations) ?? { id: "own", payload: asJson(identifier ?? title ?? expected ?? description) }
}

const withChecks = (shape: Shape, filters: ReadonlyArray<Filter>): Shape =>
  filters.map(checkOf).reduce(withCheck, shape)

/** A shape with one more condition: as keywords if they say exactly the same, otherwise as a check. */
const withCheck = (shape: Shape, check: Check): Shape => {
  const numbers = new Map(Object.entries(isRecord(check.payload) ? check.payload : {}).filter(isNumber))
  const at = (name: string) => numbers.get(name)
  const asCheck: Shape = { ...shape, "x-checks": [...(shape["x-checks"] ?? []), check] }
  const size = (least: number | undefined, most: number | undefined): Shape =>
    shape.type === "string"
      ? { ...shape, ...lower("minLength", shape.minLength, least), ...upper("maxLength", shape.maxLength, most) }
      : shape.type === "array"
        ? { ...shape, ...lower("minItems", shape.minItems, least), ...upper("maxItems", shape.maxItems, most) }
        : asCheck
  if (shape.type === "number" || shape.type === "integer") {
    const { "x-nonFinite": _, ...finite } = shape
    switch (check.id) {
      case "effect/schema/isFinite":
        return finite
      case "effect/schema/isInt":
        return { ...finite, type: "integer" }
      case "effect/schema/isMultipleOf":
        return shape.multipleOf === undefined ? { ...shape, multipleOf: at("divisor")! } : asCheck
      case "effect/schema/isGreaterThan":
      case "effect/schema/isGreaterThanOrEqualTo":
      case "effect/schema/isLessThan":
      case "effect/schema/isLessThanOrEqualTo":
      case "effect/schema/isBetween": {
        // Infinity is a text in the payload.
        if (!isRecord(check.payload) || Object.values(check.payload).some((value) => typeof value === "string"))
          return asCheck
        const opens = (name: string) => isRecord(check.payload) && check.payload[name] === true
        const least = at("minimum")
        const most = at("maximum")
        return {
          ...shape,
          ...lower("minimum", shape.minimum, opens("exclusiveMinimum") ? undefined : least),
          ...lower(
            "exclusiveMinimum",
            shape.exclusiveMinimum,
            opens("exclusiveMinimum") ? least : at("exclusiveMinimum")
          ),
          ...upper("maximum", shape.maximum, opens("exclusiveMaximum") ? undefined : most),
          ...upper(
            "exclusiveMaximum",
            shape.exclusiveMaximum,
            opens("exclusiveMaximum") ? most : at("exclusiveMaximum")
          )
        }
      }
    }
  }
  switch (check.id) {
    case "effect/schema/isMinLength":
      return size(at("minLength"), undefined)
    case "effect/schema/isMaxLength":
      return size(undefined, at("maxLength"))
    case "effect/schema/isBetweenLength":
      return size(at("minimum"), at("maximum"))
    case "effect/schema/isPattern":
      return shape.type === "string" &&
        shape.pattern === undefined &&
        isRecord(check.payload) &&
        check.payload["flags"] === ""
        ? { ...shape, pattern: String(check.payload["source"]) }
        : asCheck
  }
  return asCheck
}

const lower = <K extends string>(name: K, before: number | undefined, value: number | undefined) =>
  value === undefined ? {} : { [name]: before === undefined ? value : Math.max(before, value) }

const upper = <K extends string>(name: K, before: number | undefined, value: number | undefined) =>
  value === undefined ? {} : { [name]: before === undefined ? value : Math.min(before, value) }

const isRecord = (value: Schema.Json): value is { readonly [name: string]: Schema.Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const isNumber = (entry: [string, Schema.Json]): entry is [string, number] => typeof entry[1] === "number"

/** What is left of a value in JSON. */
const asJson = (value: unknown): Schema.Json => (value === undefined ? null : JSON.parse(JSON.stringify(value)))
