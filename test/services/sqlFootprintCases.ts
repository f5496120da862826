/** The suite of `SqlFootprint`, for every SQLite that the engine runs on. */
import { describe, expect, it } from "@effect/vitest"
import * as SqlFootprint from "../../src/services/storage/SqlFootprint.ts"

/** An empty database that caches prepared statements by their text, as Durable Objects do. */
export interface Host extends SqlFootprint.ExplainSource {
  /** Rolls back if `body` throws, and rethrows. */
  readonly transaction: (body: () => void) => void
}

type Tables = ReadonlyArray<string> | "everything"

interface Case {
  readonly sql: string
  readonly paramCount: number
  readonly reads: Tables
  readonly writes: Tables
  readonly readOnly: boolean
}

const query = (sql: string, reads: Tables, paramCount = 0): Case => ({
  sql,
  paramCount,
  reads,
  writes: [],
  readOnly: true
})

const write = (sql: string, writes: Tables, alsoReads: Tables = [], paramCount = 0): Case => ({
  sql,
  paramCount,
  reads: writes === "everything" || alsoReads === "everything" ? "everything" : [...writes, ...alsoReads],
  writes,
  readOnly: false
})

const anything = (sql: string, paramCount = 0): Case => write(sql, "everything", [], paramCount)

/**
 * Deleting an author deletes the author's books and sets the books of loans to null, which a trigger logs. Invoices
 * restrict the deletion. `note` is unrelated to the others.
 */
export const schema: ReadonlyArray<string> = [
  "CREATE TABLE author (id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL) WITHOUT ROWID",
  "CREATE UNIQUE INDEX author_by_name ON author (name)",
  `CREATE TABLE book (
    id TEXT PRIMARY KEY NOT NULL,
    author TEXT NOT NULL REFERENCES author (id) ON DELETE CASCADE,
    title TEXT NOT NULL,
    pages INTEGER
  ) WITHOUT ROWID`,
  "CREATE INDEX book_by_author ON book (author, title, id)",
  "CREATE TABLE loan (id TEXT PRIMARY KEY NOT NULL, book TEXT REFERENCES book (id) ON DELETE SET NULL, days) WITHOUT ROWID",
  "CREATE INDEX loan_by_book ON loan (book)",
  "CREATE TABLE invoice (id TEXT PRIMARY KEY NOT NULL, author TEXT REFERENCES author (id) ON DELETE RESTRICT) WITHOUT ROWID",
  "CREATE TABLE audit (id INTEGER PRIMARY KEY, entry TEXT)",
  "CREATE TRIGGER loan_audit AFTER UPDATE ON loan BEGIN INSERT INTO audit (entry) VALUES (new.id || ';'); END",
  "CREATE TABLE ticket (id INTEGER PRIMARY KEY AUTOINCREMENT, text)",
  "CREATE TABLE note (id TEXT PRIMARY KEY NOT NULL, text TEXT) WITHOUT ROWID",
  "CREATE INDEX note_by_text ON note (text)",
  "CREATE TABLE log (line TEXT UNIQUE)",
  'CREATE TABLE "Odd; ""Name" (id TEXT PRIMARY KEY NOT NULL, "a;b") WITHOUT ROWID',
  "CREATE VIEW shelf AS SELECT author.name, book.title FROM author JOIN book ON book.author = author.id",
  "CREATE VIEW crowded AS SELECT name, count(*) AS books FROM shelf GROUP BY name",
  "CREATE VIEW inbox AS SELECT id, text FROM note",
  `CREATE TRIGGER inbox_insert INSTEAD OF INSERT ON inbox BEGIN
    INSERT INTO note VALUES (new.id, new.text);
    INSERT INTO log VALUES ((SELECT max(entry) FROM audit));
  END`,
  "CREATE TRIGGER inbox_delete INSTEAD OF DELETE ON inbox BEGIN SELECT count(*) FROM log; END",
  "CREATE VIRTUAL TABLE search USING fts5 (text)",
  "CREATE TABLE page (id INTEGER PRIMARY KEY, text)",
  "CREATE TRIGGER page_search AFTER INSERT ON page BEGIN INSERT INTO search VALUES (new.text); END"
]

export const cases: ReadonlyArray<Case> = [
  query("SELECT 1", []),
  query("VALUES (1), (2)", []),
  query("SELECT * FROM note", ["note"]),
  query("SELECT * FROM note WHERE id = ?", ["note"], 1),
  query("SELECT text FROM note WHERE text > ? ORDER BY text LIMIT ?", ["note"], 2),
  query("SELECT id FROM book WHERE author = 'a' AND title = 't'", ["book"]),
  query("SELECT * FROM log", ["log"]),
  query("SELECT rowid FROM log WHERE line = 'x'", ["log"]),
  query("SELECT count(*) FROM book", ["book"]),
  query("SELECT count(*) FROM log", ["log"]),
  query("SELECT min(text) FROM note", ["note"]),
  query("SELECT max(title) FROM book WHERE author = 'a'", ["book"]),
  query("SELECT DISTINCT pages FROM book ORDER BY title DESC", ["book"]),
  query("SELECT * FROM author JOIN book ON book.author = author.id LEFT JOIN loan ON loan.book = book.id", [
    "author",
    "book",
    "loan"
  ]),
  query("SELECT * FROM note JOIN log ON note.text = log.line || ''", ["note", "log"]),
  query("SELECT * FROM audit a, audit b WHERE a.entry = b.entry", ["audit"]),
  query("SELECT id FROM author WHERE EXISTS (SELECT 1 FROM book WHERE book.author = author.id)", ["author", "book"]),
  query("SELECT id, (SELECT count(*) FROM loan WHERE loan.book = book.id) FROM book", ["book", "loan"]),
  query("SELECT * FROM note WHERE text IN (SELECT name FROM author)", ["note", "author"]),
  query("SELECT * FROM note WHERE text IN log", ["note", "log"]),
  query("SELECT * FROM note WHERE text NOT IN log", ["note", "log"]),
  query("SELECT 1 WHERE 'x' IN (SELECT line FROM log)", ["log"]),
  query("SELECT id FROM author UNION SELECT id FROM note ORDER BY 1", ["author", "note"]),
  query("SELECT id FROM author EXCEPT SELECT author FROM invoice", ["author", "invoice"]),
  query("SELECT * FROM (SELECT id FROM note UNION ALL SELECT line FROM log) WHERE id = 'x'", ["note", "log"]),
  query("SELECT * FROM note WHERE id = 'a' OR text = 'b'", ["note"]),
  query("SELECT title, row_number() OVER (PARTITION BY author ORDER BY title) FROM book", ["book"]),
  query("SELECT sum(pages) OVER (ORDER BY title ROWS 1 PRECEDING), lag(title) OVER (ORDER BY id) FROM book", ["book"]),
  query("SELECT upper(text), max(text, 'a'), iif(text LIKE 'a%', 1, 2), date('now'), random() FROM note", ["note"]),
  query("SELECT group_concat(text, ';' ORDER BY id), json_group_array(text), avg(length(text)) FROM note", ["note"]),
  query("SELECT text ->> '$.a' FROM note WHERE json_extract(text, '$.b') = 1", ["note"]),

  // Names: letter case, quotes, comments, and names that do not refer to a table
  query("SELECT * FROM NOTE", ["note"]),
  query('SELECT "TEXT" FROM "Note"', ["note"]),
  query("SELECT [text] FROM `note`", ["note"]),
  query("SELECT * FROM main.note", ["note"]),
  query('SELECT "a;b" FROM "Odd; ""Name" -- ; DELETE FROM note', ['Odd; "Name']),
  query("/* ; */ -- ;\n select 'log' AS author, ';' AS \";\" FROM note ;\n ", ["note"]),
  query("WITH note AS (SELECT * FROM log) SELECT * FROM note", ["log"]),
  query("WITH note AS (SELECT * FROM main.note) SELECT * FROM note", ["note"]),
  query("WITH log(n) AS (VALUES (1)) SELECT * FROM log", []),
  query("SELECT * FROM note AS log", ["note"]),
  query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT * FROM n", []),
  query(
    "WITH RECURSIVE up(id) AS (SELECT author FROM book UNION SELECT book.author FROM book JOIN up ON book.id = up.id) SELECT * FROM up, log",
    ["book", "log"]
  ),
  query("SELECT * FROM shelf", ["author", "book"]),
  query("SELECT * FROM Crowded WHERE books > 1", ["author", "book"]),
  query("SELECT * FROM inbox", ["note"]),
  query("SELECT * FROM sqlite_sequence", ["sqlite_sequence"]),

  // Transient tables
  query("SELECT value FROM json_each(?)", [], 1),
  query("SELECT * FROM note, json_tree(note.text) AS tree, jsonb_each('[1]')", ["note"]),
  query("SELECT * FROM note WHERE id IN (SELECT value FROM json_each(?))", ["note"], 1),
  write("INSERT INTO note SELECT value, NULL FROM json_each(?)", ["note"], [], 1),

  write("INSERT INTO note VALUES (?, ?)", ["note"], [], 2),
  write("INSERT INTO log VALUES ('a'), ('b')", ["log"]),
  write("INSERT INTO log DEFAULT VALUES", ["log"]),
  write("INSERT INTO book VALUES ('b', 'a', 't', 1)", ["book"], ["author"]),
  write("INSERT INTO note SELECT id, name FROM author", ["note"], ["author"]),
  write("INSERT INTO note SELECT * FROM note", ["note"]),
  write("INSERT INTO ticket (text) VALUES ('x')", ["ticket", "sqlite_sequence"]),
  write("INSERT INTO note VALUES ('a', 'b') RETURNING id, (SELECT count(*) FROM log)", ["note"], ["log"]),
  write("INSERT INTO note VALUES ('a', 'b') ON CONFLICT DO NOTHING", ["note"]),
  write("INSERT INTO note VALUES ('a', 'b') ON CONFLICT (id) DO UPDATE SET text = excluded.text", ["note"]),
  write(
    "INSERT INTO note VALUES ('a', 'b') ON CONFLICT (id) DO UPDATE SET text = (SELECT max(line) FROM log)",
    ["note"],
    ["log"]
  ),
  write("INSERT OR IGNORE INTO note VALUES ('a', 'b')", ["note"]),
  write("REPLACE INTO note VALUES ('a', 'b')", ["note"]),
  // REPLACE deletes the old row, with the effects of a deletion.
  write("INSERT OR REPLACE INTO book VALUES ('b', 'a', 't', 1)", ["book", "loan", "audit"], ["author"]),
  write("REPLACE INTO author VALUES ('a', 'n')", ["author", "book", "loan", "audit"], ["invoice"]),

  write("UPDATE note SET text = 'x' WHERE id = 'a'", ["note"]),
  write("UPDATE note SET id = id || 'x'", ["note"]),
  write("UPDATE note SET text = log.line FROM log WHERE log.line = note.id", ["note"], ["log"]),
  write("UPDATE note AS n SET text = m.text FROM note AS m WHERE m.id > n.id", ["note"]),
  write("UPDATE OR REPLACE log SET line = 'x'", ["log"]),
  write("UPDATE loan SET days = 1", ["loan", "audit"]),
  write("UPDATE book SET pages = pages + 1", ["book"]),
  write("UPDATE book SET author = 'a'", ["book"], ["author"]),
  write("UPDATE note SET text = 'x' RETURNING *", ["note"]),

  write("DELETE FROM note", ["note"]),
  write("DELETE FROM log", ["log"]),
  write("DELETE FROM note WHERE id = 'a'", ["note"]),
  write("DELETE FROM note WHERE text IN (SELECT line FROM log) RETURNING id", ["note"], ["log"]),
  // SQLite looks up the parent of a deleted row.
  write("DELETE FROM book", ["book", "loan", "audit"], ["author"]),
  write("DELETE FROM book WHERE 0", ["book", "loan", "audit"], ["author"]),
  write("DELETE FROM author WHERE id = 'a'", ["author", "book", "loan", "audit"], ["invoice"]),
  write(
    "WITH note AS (SELECT line FROM log) DELETE FROM main.note WHERE id IN (SELECT line FROM note)",
    ["note"],
    ["log"]
  ),
  write("DELETE FROM invoice", ["invoice"], ["author"]),
  write("INSERT INTO inbox VALUES ('a', 'b')", ["note", "log"], ["audit"]),
  write("DELETE FROM inbox", [], ["note", "log"]),

  // Full-text search stores its rows in tables of its own, whose reads and writes are not in the bytecode.
  query("SELECT * FROM search WHERE search MATCH 'a' ORDER BY rank", "everything"),
  query("SELECT highlight(search, 0, '[', ']'), bm25(search) FROM search('a')", "everything"),
  query("SELECT * FROM search AS json_each", "everything"),
  query("SELECT * FROM note WHERE EXISTS (SELECT 1 FROM search WHERE text = note.text)", "everything"),
  write("INSERT INTO note SELECT rowid, text FROM search", ["note"], "everything"),
  anything("INSERT INTO search VALUES ('a')"),
  anything("DELETE FROM search"),
  anything("INSERT INTO page (text) VALUES ('a')"),
  query("SELECT * FROM search_content", ["search_content"]),

  // Results that depend on more than tables
  query("SELECT changes()", "everything"),
  query("SELECT last_insert_rowid(), total_changes() FROM note", "everything"),
  query("SELECT * FROM sqlite_master", "everything"),
  query("SELECT name FROM sqlite_schema WHERE type = 'table'", "everything"),
  query("SELECT * FROM pragma_table_info('note')", "everything"),
  anything("SELECT rtreecheck('note')"),

  anything("CREATE TABLE fresh (id)"),
  anything("CREATE TABLE fresh AS SELECT * FROM note"),
  anything("CREATE INDEX fresh ON note (id)"),
  anything("CREATE VIEW fresh AS SELECT * FROM note"),
  anything("CREATE TRIGGER fresh AFTER INSERT ON note BEGIN DELETE FROM log; DELETE FROM note; END"),
  anything("ALTER TABLE note RENAME TO fresh"),
  anything("ALTER TABLE note ADD COLUMN fresh"),
  anything("DROP TABLE note"),
  anything("DROP INDEX note_by_text"),
  anything("DROP TRIGGER loan_audit"),
  anything("PRAGMA table_info(note)"),
  anything("PRAGMA foreign_keys = OFF"),
  anything("ANALYZE"),
  anything("REINDEX"),
  anything("VACUUM"),
  anything("BEGIN"),
  anything("SAVEPOINT s"),
  anything("ATTACH 'x' AS y"),
  anything("EXPLAIN DELETE FROM note"),
  anything("EXPLAIN QUERY PLAN SELECT 1"),
  anything("QUERY PLAN DELETE FROM note"),

  // Refused by SQLite
  anything(""),
  anything(" ; "),
  anything("SELEC 1"),
  anything("SELECT * FROM nowhere"),
  anything("SELECT 'open"),
  anything("SELECT no_such_function(1)"),
  anything("INSERT INTO note"),

  // Several statements, or possibly several
  anything("SELECT 1; DELETE FROM note"),
  anything("SELECT 1; DELETE FROM note;"),
  anything(";DELETE FROM note"),
  anything("SELECT 1;;"),
  anything("SELECT ';'; DELETE FROM note"),
  anything("SELECT ''';'; DELETE FROM note"),
  anything('SELECT ";" FROM note; DELETE FROM note'),
  anything("SELECT 1 /* ; */; DELETE FROM note"),
  anything("SELECT 1 /*/ */; DELETE FROM note"),
  anything("SELECT 1 -- '\n; DELETE FROM note -- '"),
  anything("SELECT [']; DELETE FROM note; --'] FROM note; DELETE FROM note"),
  anything("SELECT $a('); DELETE FROM note; --')"),
  anything("SELECT :a::b('); DELETE FROM note; --')"),
  anything("SELECT 1 /* open ; DELETE FROM note"),
  anything("SELECT 1 /*/ ; DELETE FROM note"),
  anything("SELECT 1 AS [open ; DELETE FROM note"),
  anything("SELECT 1\0; DELETE FROM note"),
  anything("SELECT 1 /* \0 */"),
  anything("SELECT 1;\u00a0DELETE FROM note"),
  anything("\ufeffSELECT 1; DELETE FROM note")
]

/** Declares the tests. `withHost` provides a new database for each. */
export const suite = (name: string, withHost: (body: (host: Host) => void) => void | Promise<void>) =>
  describe(`R1: ${name}`, () => {
    describe("footprint of", () => {
      for (const { sql, paramCount, ...expected } of cases) {
        it(JSON.stringify(sql), () =>
          withHost((host) => {
            createSchema(host)
            host.query("INSERT INTO note VALUES ('kept', 'kept')", [])
            host.query("INSERT INTO author VALUES ('kept', 'kept')", [])

            const { footprint } = SqlFootprint.make(host)
            for (const found of [footprint(sql, paramCount), footprint(sql, paramCount)]) {
              expect({ reads: sorted(found.reads), writes: sorted(found.writes), readOnly: found.readOnly }).toEqual({
                reads: sorted(expected.reads),
                writes: sorted(expected.writes),
                readOnly: expected.readOnly
              })
            }

            expect(host.query("SELECT * FROM note", [])).toEqual([{ id: "kept", text: "kept" }])
            expect(host.query("SELECT count(*) AS count FROM sqlite_master WHERE name LIKE '%fresh%'", [])).toEqual([
              { count: 0 }
            ])
            expect(() => host.query("INSERT INTO book VALUES ('b', 'nobody', 't', 1)", [])).toThrow(/FOREIGN KEY/)
          })
        )
      }
    })

    const withTables = (body: (host: Host, footprint: SqlFootprint.SqlFootprint) => void) => () =>
      withHost((host) => {
        host.query("CREATE TABLE a (id TEXT PRIMARY KEY NOT NULL) WITHOUT ROWID", [])
        host.query("CREATE TABLE b (id TEXT PRIMARY KEY NOT NULL) WITHOUT ROWID", [])
        host.query("CREATE VIEW v AS SELECT * FROM a", [])
        host.query("CREATE TRIGGER a_to_b AFTER INSERT ON a BEGIN INSERT INTO b VALUES (new.id); END", [])
        body(host, SqlFootprint.make(host))
      })

    /** Runs a statement as the engine does: after its footprint was computed. */
    const run = (host: Host, footprint: SqlFootprint.SqlFootprint, sql: string) => {
      footprint.footprint(sql, 0)
      host.query(sql, [])
    }

    it(
      "a change of the schema is noticed, and kept after its transaction",
      withTables((host, footprint) => {
        expect(sorted(footprint.footprint("SELECT * FROM v", 0).reads)).toEqual(["a"])
        run(host, footprint, "DROP VIEW v")
        run(host, footprint, "CREATE VIEW v AS SELECT * FROM b")
        expect(sorted(footprint.footprint("SELECT * FROM v", 0).reads)).toEqual(["b"])
        footprint.invalidateIfSchemaChanged()
        expect(sorted(footprint.footprint("SELECT * FROM v", 0).reads)).toEqual(["b"])
      })
    )

    it(
      "tables that swap their names swap their footprints",
      withTables((host, footprint) => {
        host.query("DROP TRIGGER a_to_b", [])
        host.query("DROP VIEW v", [])
        host.query("CREATE TABLE c (id TEXT)", [])
        footprint.invalidate()
        for (const table of ["a", "b", "c"]) {
          expect(sorted(footprint.footprint(`INSERT INTO ${table} VALUES ('1')`, 0).writes)).toEqual([table])
        }
        for (const [from, to] of [
          ["a", "x"],
          ["b", "a"],
          ["c", "b"],
          ["x", "c"]
        ]) {
          run(host, footprint, `ALTER TABLE ${from} RENAME TO ${to}`)
        }
        footprint.invalidateIfSchemaChanged()
        for (const table of ["a", "b", "c"]) {
          expect(sorted(footprint.footprint(`INSERT INTO ${table} VALUES ('1')`, 0).writes)).toEqual([table])
        }
      })
    )

    it(
      "a reused root page belongs to the new table",
      withTables((host, footprint) => {
        const rootPage = (table: string) =>
          host.query("SELECT rootpage FROM sqlite_master WHERE name = ?", [table])[0]?.["rootpage"]
        host.query("CREATE TABLE old (id)", [])
        expect(sorted(footprint.footprint("SELECT * FROM old", 0).reads)).toEqual(["old"])
        const page = rootPage("old")
        host.query("DROP TABLE old", [])
        host.query("CREATE TABLE young (id)", [])
        expect(rootPage("young")).toBe(page)
        // Without a call of `invalidate`: the next uncached statement has another schema cookie.
        expect(sorted(footprint.footprint("SELECT * FROM young", 0).reads)).toEqual(["young"])
        expect(footprint.footprint("SELECT * FROM old", 0).reads).toBe("everything")
      })
    )

    it(
      "a change of the schema that is rolled back has no effect",
      withTables((host, footprint) => {
        const insert = "INSERT INTO a VALUES ('1')"
        const writes = () => sorted(footprint.footprint(insert, 0).writes)
        const rolledBack = (body: () => void) => {
          expect(() =>
            host.transaction(() => {
              body()
              throw new Error("rolled back")
            })
          ).toThrow("rolled back")
        }

        expect(writes()).toEqual(["a", "b"])
        rolledBack(() => {
          run(host, footprint, "DROP TRIGGER a_to_b")
          expect(writes()).toEqual(["a"])
        })
        expect(writes()).toEqual(["a", "b"])
        footprint.invalidateIfSchemaChanged()
        expect(writes()).toEqual(["a", "b"])

        // Both changes result in the same schema cookie.
        rolledBack(() => run(host, footprint, "DROP TRIGGER a_to_b"))
        footprint.invalidateIfSchemaChanged()
        expect(writes()).toEqual(["a", "b"])
        run(host, footprint, "CREATE TABLE c (id)")
        footprint.invalidateIfSchemaChanged()
        expect(writes()).toEqual(["a", "b"])
        expect(sorted(footprint.footprint("SELECT * FROM c", 0).reads)).toEqual(["c"])
      })
    )

    it(
      "a second instance on the same connection does not reuse the statements of the first",
      withTables((host, footprint) => {
        expect(sorted(footprint.footprint("SELECT * FROM v", 0).reads)).toEqual(["a"])
        host.query("DROP VIEW v", [])
        host.query("CREATE VIEW v AS SELECT * FROM b", [])
        expect(sorted(SqlFootprint.make(host).footprint("SELECT * FROM v", 0).reads)).toEqual(["b"])
      })
    )

    it(
      "a table with the name of a JSON function is a table",
      withTables((host, footprint) => {
        host.query("CREATE VIRTUAL TABLE json_tree USING fts5 (value)", [])
        expect(footprint.footprint("SELECT value FROM json_tree", 0).reads).toBe("everything")
        expect(footprint.footprint("SELECT value FROM json_tree('[]')", 0).reads).toBe("everything")
        host.query("CREATE TABLE json_each (value)", [])
        expect(sorted(footprint.footprint("SELECT value FROM json_each", 0).reads)).toEqual(["json_each"])
      })
    )
  })

const createSchema = (host: Host) => {
  for (const sql of schema) host.query(sql, [])
}

export const sorted = (tables: ReadonlySet<string> | Tables): Tables =>
  tables === "everything" ? tables : [...new Set(tables)].sort()
