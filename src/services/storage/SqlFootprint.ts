/**
 * Finds the tables that a raw SQL statement reads and writes, from SQLite's bytecode: `EXPLAIN` lists the program of
 * the statement, of its triggers and of foreign-key actions, which opens every b-tree that it uses by its root page. A
 * table whose b-trees are not opened is neither read nor written. A statement that is not understood counts as
 * "everything".
 */
import type { SqlValue } from "./KeyOrder.ts"

/** The tables that a statement can read and write. */
export interface Footprint {
  /**
   * The tables whose content can change the result or the effect of the statement, spelled as in `sqlite_master`. A
   * view counts as its tables. Includes `writes`, because a statement reads the tables that it writes.
   */
  readonly reads: ReadonlySet<string> | "everything"
  /** The tables that the statement can write: itself, through a trigger or through a foreign-key action. */
  readonly writes: ReadonlySet<string> | "everything"
  /** Those of `writes` that a trigger or a foreign-key action can write. */
  readonly sideWrites: ReadonlySet<string> | "everything"
  /** Whether the statement certainly does not write. */
  readonly readOnly: boolean
  /** Whether the statement can read the time or random numbers. */
  readonly readsClock: boolean
}

/** The part of a database that is used here. */
export interface ExplainSource {
  /** Runs a statement. Returns its rows by column name, with values as SQLite has them. */
  readonly query: (sql: string, params: ReadonlyArray<SqlValue>) => ReadonlyArray<Record<string, unknown>>
}

/** Finds and caches the footprints of statements on one connection. */
export interface SqlFootprint {
  /**
   * The footprint of `sql`, without executing it. Never fails: a statement that SQLite cannot explain is "everything",
   * and its execution will report the error. Call directly before the statement runs: a change of the schema in between
   * can change the footprint.
   *
   * @param paramCount the number of parameters that the statement binds
   */
  readonly footprint: (sql: string, paramCount: number) => Footprint
  /**
   * Clears the cache. Call after a statement that did not go through `footprint` changed the schema or a `PRAGMA`; if
   * that was inside a transaction, call again after the transaction.
   */
  readonly invalidate: () => void
  /**
   * Clears the cache if the transaction may have changed the schema. Call after each transaction, committed or rolled
   * back. Between such a statement and this call nothing is cached: a rollback restores the old schema, and the next
   * change of the schema then reuses the same schema cookie.
   */
  readonly invalidateIfSchemaChanged: () => void
  /** Whether the database may have triggers. Queried once per state of the schema. */
  readonly mayHaveTriggers: () => boolean
  /**
   * Whether other tables than the declared ones may have foreign keys, whose actions a declared table does not show.
   * Queried together with the triggers.
   */
  readonly mayHaveForeignReferences: () => boolean
}

/** Makes the footprints of one connection, whose declared tables are `declared`. */
export const make = (source: ExplainSource, declared: Pick<ReadonlySet<string>, "has"> = noTables): SqlFootprint => {
  const cache = new Map<string, Footprint>()
  let characters = 0
  let schema: Schema | undefined
  let generation = ++generations
  let schemaMayHaveChanged = false
  let actions: Actions | undefined

  const clear = () => {
    cache.clear()
    characters = 0
    schema = undefined
    actions = undefined
    generation = ++generations
  }

  // A prepared EXPLAIN is not recompiled when the schema changes, and hosts cache prepared statements by text. The
  // number makes the text differ for every state of the schema.
  const explain = (sql: string, paramCount: number) =>
    source.query(`EXPLAIN /*${generation}*/ ${sql}`, new Array<null>(paramCount).fill(null)).map(decodeInstruction)

  const loadSchema = (): Schema => {
    const objects = source.query("SELECT name, tbl_name, rootpage FROM sqlite_master", [])
    return {
      cookie: accessOf(explain("SELECT 1 FROM sqlite_master", 0)).cookie,
      tables: new Map(
        objects.flatMap(({ rootpage, tbl_name }) => (isPage(rootpage) ? [[rootpage, String(tbl_name)]] : []))
      ),
      tableless: tablelessModules(new Set(objects.map(({ name }) => String(name).toLowerCase())))
    }
  }

  // EXPLAIN shows a virtual table only as an address. Each JSON function has one virtual table per connection, which
  // lives as long as the connection, so that its address identifies it.
  const tablelessModules = (names: ReadonlySet<string>): ReadonlySet<string> => {
    if (jsonFunctions.some((name) => names.has(name))) return noTables
    try {
      const calls = jsonFunctions.map((name) => `main.${name}('[]')`)
      const { virtualTables } = accessOf(explain(`SELECT 1 FROM ${calls.join(", ")}`, 0))
      // With fewer addresses than functions, an address does not identify a function.
      return virtualTables.size === jsonFunctions.length ? virtualTables : noTables
    } catch {
      return noTables
    }
  }

  const analyze = (sql: string, paramCount: number): Footprint | undefined => {
    schema ??= loadSchema()
    return resolve(accessOf(explain(sql, paramCount)), schema)
  }

  const store = (sql: string, footprint: Footprint) => {
    cache.set(sql, footprint)
    characters += sql.length
    for (const oldest of cache.keys()) {
      if (cache.size <= maxStatements && characters <= maxCharacters) break
      cache.delete(oldest)
      characters -= oldest.length
    }
  }

  const footprint = (sql: string, paramCount: number): Footprint => {
    if (schemaMayHaveChanged) clear()
    const cached = cache.get(sql)
    if (cached !== undefined) {
      // To the end of the map: the first entry is the least recently used.
      cache.delete(sql)
      cache.set(sql, cached)
      return cached
    }
    if (!isSingleRowStatement(sql)) {
      schemaMayHaveChanged = true
      return everything
    }
    try {
      let found = analyze(sql, paramCount)
      if (found === undefined) {
        // The cached schema is outdated.
        clear()
        found = analyze(sql, paramCount) ?? everything
      }
      store(sql, found)
      return found
    } catch {
      return everything
    }
  }

  const invalidate = () => {
    clear()
    schemaMayHaveChanged = false
  }

  const loadActions = (): Actions => {
    if (schemaMayHaveChanged) return anyAction
    if (actions !== undefined) return actions
    const found = source.query(
      "SELECT type, tbl_name FROM sqlite_master WHERE type = 'trigger' OR (type = 'table' AND sql LIKE '%references%')",
      []
    )
    actions = {
      triggers: found.some(({ type }) => type === "trigger"),
      foreignReferences: found.some(({ tbl_name, type }) => type === "table" && !declared.has(String(tbl_name)))
    }
    return actions
  }

  return {
    footprint,
    invalidate,
    invalidateIfSchemaChanged: () => {
      if (schemaMayHaveChanged) invalidate()
    },
    mayHaveTriggers: () => loadActions().triggers,
    mayHaveForeignReferences: () => loadActions().foreignReferences
  }
}

/** Shared by all instances, because two of them may share a connection and its prepared statements. */
let generations = 0

/** Cached statements, and the characters of their texts: one text can have 100 KB. */
const maxStatements = 500
const maxCharacters = 1_000_000

const noTables: ReadonlySet<string> = new Set()
const everything: Footprint = {
  reads: "everything",
  writes: "everything",
  sideWrites: "everything",
  readOnly: false,
  readsClock: true
}

/** What in the schema can write rows besides the statement itself. */
interface Actions {
  readonly triggers: boolean
  readonly foreignReferences: boolean
}

const anyAction: Actions = { triggers: true, foreignReferences: true }

/** The schema, valid as long as its cookie stays the same. */
interface Schema {
  readonly cookie: number | undefined
  /** The tables by the root pages of their b-trees and of those of their indexes. */
  readonly tables: ReadonlyMap<number, string>
  /** Virtual tables that read no other table. */
  readonly tableless: ReadonlySet<string>
}

/** The footprint of a program. `undefined` if the program was compiled for another schema. */
const resolve = (access: Access, schema: Schema): Footprint | undefined => {
  if (access.cookie !== undefined && access.cookie !== schema.cookie) return undefined
  const read = tablesOf(access.pagesRead, schema)
  const written = tablesOf(access.pagesWritten, schema)
  const writtenBySide = tablesOf(access.pagesWrittenBySide, schema)
  if (read === undefined || written === undefined || writtenBySide === undefined) return undefined
  const readsUnknown =
    access.readsUnknown ||
    access.writesUnknown ||
    [...access.virtualTables].some((table) => !schema.tableless.has(table))
  return {
    reads: readsUnknown ? "everything" : new Set([...read, ...written]),
    writes: access.writesUnknown ? "everything" : written,
    sideWrites: access.writesUnknown ? "everything" : writtenBySide,
    readOnly: !access.mayWrite,
    readsClock: access.readsClock || access.writesUnknown
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

/** What a program can access, by root pages and addresses. */
interface Access {
  readonly cookie: number | undefined
  readonly pagesRead: ReadonlySet<number>
  readonly pagesWritten: ReadonlySet<number>
  /** Those that a trigger or a foreign-key action can write. */
  readonly pagesWrittenBySide: ReadonlySet<number>
  /** Virtual tables that are read, as `EXPLAIN` prints them. */
  readonly virtualTables: ReadonlySet<string>
  readonly readsUnknown: boolean
  readonly writesUnknown: boolean
  readonly mayWrite: boolean
  readonly readsClock: boolean
}

const accessOf = (program: ReadonlyArray<Instruction>): Access => {
  const pagesRead = new Set<number>()
  const pagesWritten = new Set<number>()
  const pagesWrittenBySide = new Set<number>()
  const virtualTables = new Set<string>()
  let cookie: number | undefined
  let readsUnknown = false
  let writesUnknown = false
  let mayWrite = false
  let readsClock = false
  // The program of the statement comes first, then those of triggers and of foreign-key actions. Each begins with Init.
  let programs = 0
  const writesPage = (page: number) => {
    pagesWritten.add(page)
    if (programs > 1) pagesWrittenBySide.add(page)
  }
  const mayDoAnything = () => {
    writesUnknown = true
    mayWrite = true
  }

  for (const { opcode, p1, p2, p3, p4, p5 } of program) {
    if (opcode === "Init") programs++
    if (opcodesWithoutStorage.has(opcode)) continue
    switch (opcode) {
      case "Transaction":
        if (p1 === mainDatabase) cookie = p3
        if (p2 !== 0) mayWrite = true
        break
      case "OpenRead":
      case "ReopenIdx":
        if (isListed(p2, p3, p5)) pagesRead.add(p2)
        else readsUnknown = true
        break
      case "OpenWrite":
        mayWrite = true
        if (isListed(p2, p3, p5)) writesPage(p2)
        else writesUnknown = true
        break
      case "Clear":
        mayWrite = true
        if (isListed(p1, p2, 0)) writesPage(p1)
        else writesUnknown = true
        break
      // SQLite's own modules do not write when they are read.
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
        else if (functionsOfClock.has(name)) readsClock = true
        else if (!functionsWithoutStorage.has(name)) mayDoAnything()
        break
      }
      default:
        mayDoAnything()
    }
  }
  return {
    cookie,
    pagesRead,
    pagesWritten,
    pagesWrittenBySide,
    virtualTables,
    readsUnknown,
    writesUnknown,
    mayWrite,
    readsClock
  }
}

const mainDatabase = 0
const schemaPage = 1
/** A flag: the root page is in a register, because the statement itself creates the b-tree. */
const pageInRegister = 0x10

/** Whether a root page is one that the schema lists. */
const isListed = (page: number, database: number, flags: number) =>
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
    throw new TypeError("EXPLAIN returned something other than bytecode")
  return { opcode, p1, p2, p3, p4: typeof p4 === "string" ? p4 : "", p5 }
}

const isPage = (value: unknown): value is number => typeof value === "number" && value > 0

/**
 * Whether `sql` is a single statement that reads or writes rows. Only such text may follow `EXPLAIN`: a Durable Object
 * would execute a second statement, and a `PRAGMA` can act while it is prepared. Literals, quoted names and comments
 * are removed first; ambiguous text is rejected.
 */
export const isSingleRowStatement = (sql: string): boolean => {
  if (sql.includes(ambiguous)) return false
  const bare = sql.replace(opaqueTokens, (token) => {
    if (token.startsWith("--")) return " "
    if (token.startsWith("/*")) return token.length >= 4 && token.endsWith("*/") ? " " : ambiguous
    if (/^[$@#:]/.test(token)) return token.endsWith("(") ? ambiguous : "?"
    return token.length >= 2 && token.endsWith(token.startsWith("[") ? "]" : token.charAt(0)) ? "?" : ambiguous
  })
  return (
    !bare.includes(ambiguous) &&
    /^[ \t\n\f\r]*(?:select|values|with|insert|replace|update|delete)\b[^;]*(?:;[ \t\n\f\r]*)?$/i.test(bare)
  )
}

/** Marks ambiguous text. SQLite ends a text at NUL, so no valid statement contains it. */
const ambiguous = "\0"

/**
 * Tokens in which a `;` or a quote has no meaning; an unterminated token extends to the end of the text. A doubled
 * quote makes two tokens, which has the same result. The last one is a parameter: for SQLite `$name(…)` is one token.
 */
const opaqueTokens =
  /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|'[^']*'?|"[^"]*"?|`[^`]*`?|\[[^\]]*\]?|[$@#:][\w$:\u0080-\uffff]*\(?/g

/**
 * Opcodes that access no b-tree, or only a transient one, or one that an opcode handled above has opened. All other
 * opcodes count as able to do anything: those of transactions, of the schema, of `PRAGMA`, `VACUUM` and `ANALYZE`,
 * those that write a virtual table, `Offset` (which returns a record's offset in the file), and future opcodes.
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

/** Functions whose result depends on the last write to any table. */
const functionsOfConnection: ReadonlySet<string> = new Set(["changes", "last_insert_rowid", "total_changes"])

/**
 * Functions that can read the time or random numbers. Those of dates do so for the argument 'now' and without arguments,
 * which the bytecode does not show: a parameter or a column can have the text 'now'.
 */
const functionsOfClock: ReadonlySet<string> = new Set(
  (
    "current_date current_time current_timestamp date datetime julianday random randomblob strftime time timediff " +
    "unixepoch"
  ).split(" ")
)

/**
 * SQLite's other functions that depend only on their arguments. Functions in none of these lists count as able to do
 * anything: `rtreecheck` and `optimize` run SQL, and a host can define any function. A host must not replace a listed
 * function by one that accesses tables: the bytecode does not show that.
 */
const functionsWithoutStorage: ReadonlySet<string> = new Set(
  (
    "-> ->> abs acos acosh asin asinh atan atan2 atanh avg bm25 ceil ceiling char coalesce concat concat_ws cos cosh " +
    "count cume_dist degrees dense_rank exp first_value floor format glob group_concat hex highlight if ifnull iif " +
    "instr json json_array json_array_insert json_array_length json_error_position json_extract json_group_array " +
    "json_group_object json_insert json_object json_patch json_pretty json_quote json_remove json_replace json_set " +
    "json_type json_valid jsonb jsonb_array jsonb_array_insert jsonb_extract jsonb_group_array jsonb_group_object " +
    "jsonb_insert jsonb_object jsonb_patch jsonb_remove jsonb_replace jsonb_set lag last_value lead length like " +
    "likelihood likely ln log log10 log2 lower ltrim match max median min mod nth_value ntile nullif octet_length " +
    "percent_rank percentile percentile_cont percentile_disc pi pow power printf quote radians rank replace round " +
    "row_number rtrim sign sin sinh snippet soundex sqrt string_agg substr substring subtype sum tan tanh total trim " +
    "trunc typeof unhex unicode unistr unistr_quote unlikely upper zeroblob"
  ).split(" ")
)

const jsonFunctions = ["json_each", "json_tree", "jsonb_each", "jsonb_tree"]
