/**
 * Which tables a raw SQL statement reads and writes, learned from SQLite's own bytecode.
 * The answer comes from SQLite itself: `EXPLAIN` lists the bytecode of the statement, with the programs of its triggers
 * and foreign-key actions, and every b-tree that bytecode can touch is opened by root page. What a valid program does
 * not open cannot change its result, whatever plan is chosen when the statement runs. So a table that is missing here
 * is neither read nor written; a table that is named may still be left alone. What is not understood is "everything".
 */
import type { SqlValue } from "./KeyOrder.ts"

export interface Footprint {
  /**
   * The tables whose content can change what the statement answers or does, named as `sqlite_master` spells them. Views
   * stand for the tables below them. A statement looks at the tables it writes, so these contain `writes`.
   */
  readonly reads: ReadonlySet<string> | "everything"
  /** The tables the statement can write, by itself, through a trigger or through a foreign-key action. */
  readonly writes: ReadonlySet<string> | "everything"
  /** True only if the statement cannot write. */
  readonly readOnly: boolean
}

/** The part of a database that is used here. Values come back as SQLite's own: `null`, numbers, strings, bytes. */
export interface ExplainSource {
  readonly query: (sql: string, params: ReadonlyArray<SqlValue>) => ReadonlyArray<Record<string, unknown>>
}

export interface SqlFootprint {
  /**
   * The footprint of `sql`, which is never executed here. Does not fail: a statement that SQLite refuses to explain is
   * "everything", and its execution will report the error. To be asked right before the statement runs: after it, or
   * after a change of the schema in between, the answer may be another.
   *
   * @param paramCount how many parameters the statement binds
   */
  readonly footprint: (sql: string, paramCount: number) => Footprint
  /**
   * Forgets what is known. Needed when something that `footprint` was not asked about has changed the schema or a
   * `PRAGMA`: once after the change and, if that was inside a transaction, again when the transaction has ended.
   */
  readonly invalidate: () => void
  /**
   * Call when a transaction has ended, committed or rolled back. Forgets what is known if a statement of this transaction
   * may have changed the schema, and costs nothing otherwise. From such a statement until this call nothing is kept: a
   * rollback would bring back the old schema, with a schema cookie that the next change then repeats.
   */
  readonly invalidateIfSchemaChanged: () => void
  /** Whether a write may set off a trigger. It is looked up once for each state of the schema. */
  readonly mayHaveTriggers: () => boolean
}

export const make = (source: ExplainSource): SqlFootprint => {
  const cache = new Map<string, Footprint>()
  let characters = 0
  let schema: Schema | undefined
  let generation = ++generations
  let schemaInDoubt = false
  let hasTriggers: boolean | undefined

  const forget = () => {
    cache.clear()
    characters = 0
    schema = undefined
    hasTriggers = undefined
    generation = ++generations
  }

  // A prepared EXPLAIN does not notice a change of the schema: it goes on listing its first bytecode, and hosts keep
  // prepared statements by their text. The number makes the text a new one for every state of the schema.
  const explain = (sql: string, paramCount: number) =>
    source.query(`EXPLAIN /*${generation}*/ ${sql}`, new Array<null>(paramCount).fill(null)).map(decodeInstruction)

  const loadSchema = (): Schema => {
    const objects = source.query("SELECT name, tbl_name, rootpage FROM sqlite_master", [])
    return {
      cookie: touchedBy(explain("SELECT 1 FROM sqlite_master", 0)).cookie,
      tables: new Map(
        objects.flatMap(({ rootpage, tbl_name }) => (isPage(rootpage) ? [[rootpage, String(tbl_name)]] : []))
      ),
      tableless: tablelessModules(new Set(objects.map(({ name }) => String(name).toLowerCase())))
    }
  }

  // SQLite names the virtual table of a cursor by its address alone. The functions of JSON have one such table each per
  // connection, which lives as long as the connection does, so their addresses are good for comparing.
  const tablelessModules = (names: ReadonlySet<string>): ReadonlySet<string> => {
    if (jsonFunctions.some((name) => names.has(name))) return none
    try {
      const calls = jsonFunctions.map((name) => `main.${name}('[]')`)
      const { virtualTables } = touchedBy(explain(`SELECT 1 FROM ${calls.join(", ")}`, 0))
      // Fewer addresses than functions would mean that this SQLite does not tell them apart.
      return virtualTables.size === jsonFunctions.length ? virtualTables : none
    } catch {
      return none
    }
  }

  const look = (sql: string, paramCount: number): Footprint | undefined => {
    schema ??= loadSchema()
    return resolve(touchedBy(explain(sql, paramCount)), schema)
  }

  const remember = (sql: string, footprint: Footprint) => {
    cache.set(sql, footprint)
    characters += sql.length
    for (const oldest of cache.keys()) {
      if (cache.size <= maxStatements && characters <= maxCharacters) break
      cache.delete(oldest)
      characters -= oldest.length
    }
  }

  const footprint = (sql: string, paramCount: number): Footprint => {
    if (schemaInDoubt) forget()
    const known = cache.get(sql)
    if (known !== undefined) {
      cache.delete(sql)
      cache.set(sql, known)
      return known
    }
    if (!isOneRowStatement(sql)) {
      schemaInDoubt = true
      return everything
    }
    try {
      let found = look(sql, paramCount)
      if (found === undefined) {
        forget()
        found = look(sql, paramCount) ?? everything
      }
      remember(sql, found)
      return found
    } catch {
      return everything
    }
  }

  const invalidate = () => {
    forget()
    schemaInDoubt = false
  }

  return {
    footprint,
    invalidate,
    invalidateIfSchemaChanged: () => {
      if (schemaInDoubt) invalidate()
    },
    mayHaveTriggers: () => {
      if (schemaInDoubt) return true
      hasTriggers ??= source.query("SELECT 1 FROM sqlite_master WHERE type = 'trigger' LIMIT 1", []).length > 0
      return hasTriggers
    }
  }
}

/** Shared by all instances: two of them may share a connection, and with it the statements it keeps prepared. */
let generations = 0

/** A statement's text may have 100 KB, so the texts in the cache are bounded together as well as counted. */
const maxStatements = 500
const maxCharacters = 1_000_000

const none: ReadonlySet<string> = new Set()
const everything: Footprint = { reads: "everything", writes: "everything", readOnly: false }

/** What is known of the schema while its cookie stays the same. */
interface Schema {
  readonly cookie: number | undefined
  /** The table that the b-tree of a table or of an index belongs to, by root page. */
  readonly tables: ReadonlyMap<number, string>
  /** Virtual tables that touch no table. */
  readonly tableless: ReadonlySet<string>
}

/** Undefined when the program belongs to another schema. */
const resolve = (touched: Touched, schema: Schema): Footprint | undefined => {
  if (touched.cookie !== undefined && touched.cookie !== schema.cookie) return undefined
  const read = tablesOf(touched.pagesRead, schema)
  const written = tablesOf(touched.pagesWritten, schema)
  if (read === undefined || written === undefined) return undefined
  const readsUnknown =
    touched.readsUnknown ||
    touched.writesUnknown ||
    [...touched.virtualTables].some((table) => !schema.tableless.has(table))
  return {
    reads: readsUnknown ? "everything" : new Set([...read, ...written]),
    writes: touched.writesUnknown ? "everything" : written,
    readOnly: !touched.mayWrite
  }
}

const tablesOf = (pages: ReadonlySet<number>, schema: Schema): ReadonlySet<string> | undefined => {
  const tables = new Set<string>()
  for (const page of pages) {
    const table = schema.tables.get(page)
    if (table === undefined) return undefined
    tables.add(table)
  }
  return tables
}

/** What a program can touch, in its own terms. */
interface Touched {
  readonly cookie: number | undefined
  readonly pagesRead: ReadonlySet<number>
  readonly pagesWritten: ReadonlySet<number>
  /** Virtual tables read, as `EXPLAIN` prints them. */
  readonly virtualTables: ReadonlySet<string>
  readonly readsUnknown: boolean
  readonly writesUnknown: boolean
  readonly mayWrite: boolean
}

const touchedBy = (program: ReadonlyArray<Instruction>): Touched => {
  const pagesRead = new Set<number>()
  const pagesWritten = new Set<number>()
  const virtualTables = new Set<string>()
  let cookie: number | undefined
  let readsUnknown = false
  let writesUnknown = false
  let mayWrite = false
  const doesAnything = () => {
    writesUnknown = true
    mayWrite = true
  }

  for (const { opcode, p1, p2, p3, p4, p5 } of program) {
    if (opcodesWithoutStorage.has(opcode)) continue
    switch (opcode) {
      case "Transaction":
        if (p1 === mainDatabase) cookie = p3
        if (p2 !== 0) mayWrite = true
        break
      case "OpenRead":
      case "ReopenIdx":
        if (isNameable(p2, p3, p5)) pagesRead.add(p2)
        else readsUnknown = true
        break
      case "OpenWrite":
        mayWrite = true
        if (isNameable(p2, p3, p5)) pagesWritten.add(p2)
        else writesUnknown = true
        break
      case "Clear":
        mayWrite = true
        if (isNameable(p1, p2, 0)) pagesWritten.add(p1)
        else writesUnknown = true
        break
      // The modules that SQLite brings do not write when they are read.
      case "VOpen":
        if (/^vtab:0*[1-9A-F]/i.test(p4)) virtualTables.add(p4)
        else readsUnknown = true
        break
      case "Function":
      case "PureFunc":
      case "AggStep":
      case "AggStep1":
      case "AggInverse":
      case "AggValue":
      case "AggFinal": {
        const name = p4.replace(/\(-?\d+\)$/, "")
        if (functionsOfConnection.has(name)) readsUnknown = true
        else if (!functionsWithoutStorage.has(name)) doesAnything()
        break
      }
      default:
        doesAnything()
    }
  }
  return { cookie, pagesRead, pagesWritten, virtualTables, readsUnknown, writesUnknown, mayWrite }
}

const mainDatabase = 0
const schemaPage = 1
/** The operand for the root page holds a register: the b-tree is made by the statement itself. */
const pageInRegister = 0x10

const isNameable = (page: number, database: number, flags: number) =>
  database === mainDatabase && page > schemaPage && (flags & pageInRegister) === 0

interface Instruction {
  readonly opcode: string
  readonly p1: number
  readonly p2: number
  readonly p3: number
  readonly p4: string
  readonly p5: number
}

const decodeInstruction = (row: Record<string, unknown>): Instruction => {
  const { opcode, p1, p2, p3, p4, p5 } = row
  if (
    typeof opcode !== "string" ||
    typeof p1 !== "number" ||
    typeof p2 !== "number" ||
    typeof p3 !== "number" ||
    typeof p5 !== "number"
  )
    throw new TypeError("EXPLAIN gave something other than bytecode")
  return { opcode, p1, p2, p3, p4: typeof p4 === "string" ? p4 : "", p5 }
}

const isPage = (value: unknown): value is number => typeof value === "number" && value > 0

/**
 * Whether `sql` holds one statement only, and one that reads or writes rows. Nothing else may follow `EXPLAIN`: a
 * Durable Object would execute the statements after the first, and a `PRAGMA` can act while it is being prepared.
 * Literals, quoted names and comments are taken out first; whatever could be read in two ways is refused.
 */
const isOneRowStatement = (sql: string): boolean => {
  if (sql.includes(unclear)) return false
  const bare = sql.replace(opaqueTokens, (token) => {
    if (token.startsWith("--")) return " "
    if (token.startsWith("/*")) return token.length >= 4 && token.endsWith("*/") ? " " : unclear
    if (/^[$@#:]/.test(token)) return token.endsWith("(") ? unclear : "?"
    return token.length >= 2 && token.endsWith(token.startsWith("[") ? "]" : token.charAt(0)) ? "?" : unclear
  })
  return (
    !bare.includes(unclear) &&
    /^[ \t\n\f\r]*(?:select|values|with|insert|replace|update|delete)\b[^;]*(?:;[ \t\n\f\r]*)?$/i.test(bare)
  )
}

/** SQLite takes a NUL for the end of the text, so no statement that is explained holds one. */
const unclear = "\0"

/**
 * Tokens in which a `;` or a quote means nothing, and those left open, to the end of the text. A doubled quote makes two
 * tokens, which comes to the same. The last one is a parameter: SQLite takes `$name(…)` as one token, whatever is in it.
 */
const opaqueTokens =
  /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|'[^']*'?|"[^"]*"?|`[^`]*`?|\[[^\]]*\]?|[$@#:][\w$:\u0080-\uffff]*\(?/g

/**
 * Opcodes that touch no b-tree, or only one that an opcode handled above has opened, or a transient one. Left out on
 * purpose, and so able to do anything: those of transactions, of the schema, of `PRAGMA`, `VACUUM` and `ANALYZE`, those
 * that write a virtual table, `Offset` (it tells a record's place in the file), and every opcode yet to come.
 */
const opcodesWithoutStorage: ReadonlySet<string> = new Set(
  // Control and triggers
  (
    "Init Goto Gosub Return BeginSubrtn InitCoroutine EndCoroutine Yield Halt HaltIfNull Once If IfNot IfPos IfNotZero " +
    "DecrJumpZero Jump IsNull NotNull IsTrue IsType ElseEq Program Param ResetCount FkCheck FkCounter FkIfZero " +
    "Noop Explain Trace Abortable CursorHint ColumnsUsed ReleaseReg TableLock CursorLock CursorUnlock " +
    // Registers
    "Integer Int64 Real String String8 Blob Null SoftNull Variable Move Copy SCopy IntCopy MustBeInt RealAffinity Cast " +
    "Affinity Permutation Compare Eq Ne Lt Le Gt Ge ZeroOrNull And Or Not BitAnd BitOr BitNot ShiftLeft ShiftRight Add " +
    "AddImm Subtract Multiply Divide Remainder Concat MemMax OffsetLimit CollSeq TypeCheck ClrSubtype GetSubtype " +
    "SetSubtype MakeRecord ResultRow RowSetAdd RowSetRead RowSetTest FilterAdd Filter " +
    // Transient tables
    "OpenEphemeral OpenAutoindex OpenDup OpenPseudo SorterOpen SorterInsert SorterSort SorterNext SorterData " +
    "SorterCompare Sort ResetSorter Sequence SequenceTest " +
    // Cursors opened before
    "Close Rewind Last Next Prev SeekLT SeekLE SeekGE SeekGT SeekRowid SeekEnd SeekHit SeekScan IFindKey NotExists " +
    "Found NotFound NoConflict IfNoHope IfEmpty IfSizeBetween IfNullRow IfNotOpen NullRow DeferredSeek FinishSeek " +
    "IdxLT IdxLE IdxGT IdxGE IdxRowid Rowid Column RowData RowCell Count NewRowid Insert Delete IdxInsert IdxDelete " +
    "VFilter VInitIn VColumn VNext"
  ).split(" ")
)

/** Functions whose answer depends on what was written last, whichever table that was. */
const functionsOfConnection: ReadonlySet<string> = new Set(["changes", "last_insert_rowid", "total_changes"])

/**
 * SQLite's functions that compute from their arguments, the clock or chance. A list of those and not of the others:
 * `rtreecheck` and `optimize` run SQL of their own, and a host may define any function. One that it puts in the place of
 * a function listed here must not touch tables either, which cannot be seen from the bytecode.
 */
const functionsWithoutStorage: ReadonlySet<string> = new Set(
  (
    "-> ->> abs acos acosh asin asinh atan atan2 atanh avg bm25 ceil ceiling char coalesce concat concat_ws cos cosh " +
    "count cume_dist current_date current_time current_timestamp date datetime degrees dense_rank exp first_value " +
    "floor format glob group_concat hex highlight if ifnull iif instr json json_array json_array_insert " +
    "json_array_length json_error_position json_extract json_group_array json_group_object json_insert json_object " +
    "json_patch json_pretty json_quote json_remove json_replace json_set json_type json_valid jsonb jsonb_array " +
    "jsonb_array_insert jsonb_extract jsonb_group_array jsonb_group_object jsonb_insert jsonb_object jsonb_patch " +
    "jsonb_remove jsonb_replace jsonb_set julianday lag last_value lead length like likelihood likely ln log log10 " +
    "log2 lower ltrim match max median min mod nth_value ntile nullif octet_length percent_rank percentile " +
    "percentile_cont percentile_disc pi pow power printf quote radians random randomblob rank replace round " +
    "row_number rtrim sign sin sinh snippet soundex sqrt strftime string_agg substr substring subtype sum tan tanh " +
    "time timediff total trim trunc typeof unhex unicode unistr unistr_quote unixepoch unlikely upper zeroblob"
  ).split(" ")
)

const jsonFunctions = ["json_each", "json_tree", "jsonb_each", "jsonb_tree"]
