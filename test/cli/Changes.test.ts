import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { describe, expect, it } from "vitest"
import { changes } from "../../src/cli/contract/Changes.ts"
import * as Contract from "../../src/cli/contract/Contract.ts"
import { Action, Api, Mutation, Query, Table } from "../../src/index.ts"

/** Changes of a contract, each with the verdict that its author should see, and the place that is named. */

const contractOf = (...rpcs: ReadonlyArray<Rpc.Any>): Contract.Contract =>
  Contract.describe({ api: (Api.make as any)(...rpcs), tables: [] })

class Gone extends Schema.TaggedError<Gone>()("Gone", { id: Schema.String }) {}
class Busy extends Schema.TaggedError<Busy>()("Busy", {}) {}
class Note extends Schema.Class<Note>("Note")({ id: Schema.String, text: Schema.String }) {}

type Options = { payload?: any; success?: any; error?: any }
const mutation = (options: Options) => Mutation.make("notes.write", options)

interface Case {
  readonly change: string
  readonly before: ReadonlyArray<Rpc.Any>
  readonly now: ReadonlyArray<Rpc.Any>
  /** The verdict and the place, or nothing if nothing has changed. */
  readonly expected: readonly [verdict: string, place: string] | undefined
}

const payload = (change: string, before: any, now: any, expected: Case["expected"]): Case => ({
  change: `payload: ${change}`,
  before: [mutation({ payload: before })],
  now: [mutation({ payload: now })],
  expected
})
const success = (change: string, before: any, now: any, expected: Case["expected"]): Case => ({
  change: `success: ${change}`,
  before: [mutation({ success: before })],
  now: [mutation({ success: now })],
  expected
})
const error = (change: string, before: any, now: any, expected: Case["expected"]): Case => ({
  change: `error: ${change}`,
  before: [mutation({ error: before })],
  now: [mutation({ error: now })],
  expected
})

const { Boolean, DateTimeUtc, Int, Literals, NonEmptyString, NullOr, Number, optionalKey, String } = Schema
const struct = Schema.Struct
const isShort = Schema.makeFilter((text: string) => text.length < 10, { expected: "a short text" })
const isUpper = Schema.makeFilter((text: string) => text === text.toUpperCase(), { expected: "capitals" })

const corpus: ReadonlyArray<Case> = [
  {
    change: "an rpc is removed",
    before: [mutation({}), Query.make("notes.list")],
    now: [mutation({})],
    expected: ["breaking", "notes.list rpc "]
  },
  {
    change: "an rpc is added",
    before: [mutation({})],
    now: [mutation({}), Query.make("notes.list")],
    expected: ["safe", "notes.list rpc "]
  },
  {
    change: "a mutation becomes an action",
    before: [mutation({})],
    now: [Action.make("notes.write")],
    expected: ["breaking", "notes.write rpc "]
  },
  {
    change: "a query becomes a mutation",
    before: [Query.make("notes.list")],
    now: [Mutation.make("notes.list")],
    expected: ["breaking", "notes.list rpc "]
  },
  {
    change: "nothing",
    before: [mutation({ payload: { text: String } })],
    now: [mutation({ payload: { text: String } })],
    expected: undefined
  },
  {
    change: "an internal rpc is removed",
    before: [mutation({}), Api.internal(Mutation.make("sweep"))],
    now: [mutation({})],
    expected: undefined
  },

  payload("a required field is added", { text: String }, { text: String, title: String }, [
    "breaking",
    "payload title"
  ]),
  payload("an optional field is added", { text: String }, { text: String, title: optionalKey(String) }, [
    "safe",
    "payload "
  ]),
  payload("a field is removed", { text: String, title: String }, { text: String }, ["safe", "payload "]),
  payload("an optional field becomes required", { text: optionalKey(String) }, { text: String }, [
    "breaking",
    "payload text"
  ]),
  payload("a required field becomes optional", { text: String }, { text: optionalKey(String) }, ["safe", "payload "]),
  payload("a type changes", { size: String }, { size: Int }, ["breaking", "payload size"]),
  payload("a number becomes whole", { size: Schema.Finite }, { size: Int }, ["breaking", "payload size"]),
  payload("a whole number becomes a number", { size: Int }, { size: Schema.Finite }, ["safe", "payload "]),
  payload("any number becomes finite", { size: Number }, { size: Schema.Finite }, ["breaking", "payload size"]),
  payload("null is accepted", { text: String }, { text: NullOr(String) }, ["safe", "payload "]),
  payload("null is refused", { text: NullOr(String) }, { text: String }, ["breaking", "payload text"]),
  payload("a literal is removed", { color: Literals(["red", "green"]) }, { color: Literals(["red"]) }, [
    "breaking",
    "payload color"
  ]),
  payload("a literal is added", { color: Literals(["red"]) }, { color: Literals(["red", "green"]) }, [
    "safe",
    "payload "
  ]),
  payload("a text becomes literals", { color: String }, { color: Literals(["red"]) }, ["breaking", "payload color"]),
  payload("literals become a text", { color: Literals(["red"]) }, { color: String }, ["safe", "payload "]),
  payload(
    "literals become a text with a pattern that they have",
    { color: Literals(["red"]) },
    { color: String.check(Schema.isPattern(/^r/)) },
    ["safe", "payload "]
  ),
  payload(
    "literals become a text with a pattern that they do not have",
    { color: Literals(["red"]) },
    { color: String.check(Schema.isPattern(/^g/)) },
    ["breaking", "payload color"]
  ),
  payload("a text must not be empty", { text: String }, { text: NonEmptyString }, ["breaking", "payload text"]),
  payload("a text may be empty", { text: NonEmptyString }, { text: String }, ["safe", "payload "]),
  payload(
    "a bound is tightened",
    { size: Int.check(Schema.isLessThan(10)) },
    { size: Int.check(Schema.isLessThanOrEqualTo(8)) },
    ["breaking", "payload size"]
  ),
  payload(
    "a bound is written in another way",
    { size: Int.check(Schema.isLessThan(10)) },
    { size: Int.check(Schema.isLessThanOrEqualTo(9)) },
    ["safe", "payload "]
  ),
  payload(
    "a bound is loosened",
    { size: Int.check(Schema.isBetween({ minimum: 1, maximum: 5 })) },
    { size: Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })) },
    ["safe", "payload "]
  ),
  payload(
    "a list gets a limit",
    { tags: Schema.Array(String) },
    { tags: Schema.Array(String).check(Schema.isMaxLength(3)) },
    ["breaking", "payload tags"]
  ),
  payload("the items of a list change", { tags: Schema.Array(String) }, { tags: Schema.Array(Int) }, [
    "breaking",
    "payload tags[]"
  ]),
  payload("a nested field is required", { at: struct({ x: Int }) }, { at: struct({ x: Int, y: Int }) }, [
    "breaking",
    "payload at.y"
  ]),
  payload("a struct becomes a record", { at: struct({ x: Int, y: Int }) }, { at: Schema.Record(String, Int) }, [
    "safe",
    "payload "
  ]),
  payload("a record becomes a struct", { at: Schema.Record(String, Int) }, { at: struct({ x: Int }) }, [
    "breaking",
    "payload at.x"
  ]),
  payload("a record's values change", { at: Schema.Record(String, Int) }, { at: Schema.Record(String, Boolean) }, [
    "breaking",
    "payload at{}"
  ]),
  payload("a tuple gets another item", { at: Schema.Tuple([Int]) }, { at: Schema.Tuple([Int, Int]) }, [
    "breaking",
    "payload at"
  ]),
  payload("a member of a union is removed", { id: Schema.Union([String, Int]) }, { id: String }, [
    "breaking",
    "payload id"
  ]),
  payload(
    "a tagged member of a union changes",
    { shape: Schema.Union([Schema.TaggedStruct("Dot", { x: Int }), Schema.TaggedStruct("Line", { y: Int })]) },
    {
      shape: Schema.Union([Schema.TaggedStruct("Dot", { x: Int, size: Int }), Schema.TaggedStruct("Line", { y: Int })])
    },
    ["breaking", "payload shape.size"]
  ),
  payload(
    "a type becomes two that cover it",
    { size: Int },
    { size: Schema.Union([Int.check(Schema.isLessThan(0)), Int.check(Schema.isGreaterThanOrEqualTo(0))]) },
    ["unproved", "payload size"]
  ),
  payload("a text is parsed", { at: String }, { at: DateTimeUtc }, ["unproved", "payload at"]),
  payload("a parsed text becomes a text", { at: DateTimeUtc }, { at: String }, ["safe", "payload "]),
  payload(
    "what a parsed text may be is narrowed",
    { size: Schema.NumberFromString },
    { size: Schema.NumberFromString.check(Schema.isLessThan(5)) },
    ["unproved", "payload size"]
  ),
  payload("a filter of one's own is added", { text: String }, { text: String.check(isShort) }, [
    "unproved",
    "payload text"
  ]),
  payload("a filter of one's own stays", { text: String.check(isShort) }, { text: String.check(isShort) }, undefined),
  payload("a filter of one's own is another", { text: String.check(isShort) }, { text: String.check(isUpper) }, [
    "unproved",
    "payload text"
  ]),
  payload("a filter of one's own is removed", { text: String.check(isShort) }, { text: String }, ["safe", "payload "]),
  payload("a filter of Effect's is added", { text: String }, { text: String.check(Schema.isUUID()) }, [
    "breaking",
    "payload text"
  ]),
  payload("anything becomes something", { json: Schema.Json }, { json: String }, ["breaking", "payload json"]),
  payload("something becomes anything", { json: String }, { json: Schema.Json }, ["safe", "payload "]),
  payload("a struct becomes a class", struct({ id: String, text: String }), Note, undefined),
  payload("a brand is added", { id: String }, { id: String.pipe(Schema.brand("Id")) }, undefined),
  payload("an empty one gets an optional field", {}, { limit: optionalKey(Int) }, ["safe", "payload "]),
  payload("an empty one gets a field", {}, { limit: Int }, ["breaking", "payload limit"]),
  payload("an undefined field must be missing", { text: Schema.optional(String) }, { text: optionalKey(String) }, [
    "breaking",
    "payload text"
  ]),
  payload("there was none", undefined, { text: optionalKey(String) }, ["breaking", "payload "]),

  success("a field is added", struct({ id: String }), Note, ["safe", "success "]),
  success("a field is removed", Note, struct({ id: String }), ["breaking", "success text"]),
  success("a field becomes optional", Note, struct({ id: String, text: optionalKey(String) }), [
    "breaking",
    "success text"
  ]),
  success("a field can be null", Note, struct({ id: String, text: NullOr(String) }), ["breaking", "success text"]),
  success("a literal is added", Literals(["on"]), Literals(["on", "off"]), ["breaking", "success "]),
  success("a literal is removed", Literals(["on", "off"]), Literals(["on"]), ["safe", "success "]),
  success("one becomes a list", Note, Schema.Array(Note), ["breaking", "success "]),

  error("an error is added", Gone, Schema.Union([Gone, Busy]), ["breaking", "error "]),
  error("an error is removed", Schema.Union([Gone, Busy]), Gone, ["safe", "error "]),
  error("there was none", undefined, Gone, ["breaking", "error "]),

  {
    change: "an rpc refuses what it does not declare",
    before: [mutation({ payload: { text: String, title: String } })],
    now: [mutation({ payload: { text: String } }).annotate(Rpc.ParseOptions, { onExcessProperty: "error" })],
    expected: ["breaking", "payload title"]
  }
]

describe("a release", () => {
  it.each(corpus)("CL3: $change", ({ before, expected, now }) => {
    const found = changes(contractOf(...before), contractOf(...now))
    const first = found[0]
    const place = first && `${first.part === "rpc" ? `${first.subject} ` : ""}${first.part} ${first.path}`
    expect(first && [first.verdict, place], JSON.stringify(found, null, 2)).toEqual(expected)
    // Whoever has to decide is told what to do.
    for (const { remedy, verdict } of found) expect(remedy === "").toBe(verdict === "safe")
  })

  it("CL3: what must change first comes first", () => {
    const before = contractOf(
      mutation({ payload: { text: String } }),
      Query.make("a"),
      Query.make("z", { success: Int })
    )
    const now = contractOf(
      mutation({ payload: { text: String.check(isShort) } }),
      Query.make("b"),
      Query.make("z", { success: String })
    )
    expect(changes(before, now).map(({ subject, verdict }) => [verdict, subject])).toEqual([
      ["breaking", "a"],
      ["breaking", "z"],
      ["unproved", "notes.write"],
      ["safe", "b"]
    ])
  })

  it("CL3: a recursive result is described and compared", () => {
    interface Tree {
      readonly name: string
      readonly children: ReadonlyArray<Tree>
    }
    const treeOf = (name: Schema.Codec<string>): Schema.Codec<Tree> => {
      const tree: Schema.Codec<Tree> = struct({ name, children: Schema.Array(Schema.suspend(() => tree)) })
      return tree
    }
    const of = (name: Schema.Codec<string>) => contractOf(Query.make("tree", { success: treeOf(name) }))
    expect(changes(of(String), of(String))).toEqual([])
    expect(changes(of(NonEmptyString), of(String))[0]).toMatchObject({ verdict: "breaking", path: "name" })
    expect(changes(of(String), of(NonEmptyString))[0]).toMatchObject({ verdict: "safe" })
  })

  it("CL3: rows that are stored are read by the new version", () => {
    class Book extends Model.Class<Book>("Book")({ id: Table.key(String), title: String }) {}
    class Strict extends Model.Class<Strict>("Book")({ id: Table.key(String), title: NonEmptyString }) {}
    const of = (model: typeof Book | typeof Strict) =>
      Contract.describe({
        api: Api.make(Query.make("q")),
        tables: [Table.make("books", model as any, { key: "id" } as any)]
      })
    expect(changes(of(Book), of(Book))).toEqual([])
    expect(changes(of(Book), of(Strict))).toMatchObject([
      { subject: "table books", part: "row", path: "title", verdict: "breaking" }
    ])
  })

  it("CL3: a contract is the same after it was written to a file and read", async () => {
    for (const { now } of corpus) {
      const contract = contractOf(...now)
      const read = await Effect.runPromise(Contract.parse(Contract.print(contract)))
      expect(read).toEqual(contract)
      expect(changes(contract, read)).toEqual([])
    }
  })
})
