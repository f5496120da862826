import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import * as SqlClient from "effect/sql/SqlClient"
import { Action, Api, App, Auth, Calls, Mutation, Query, Table } from "effect-dormouse"

/** An app whose handlers also do what handlers must not do, for suites that check the consequences. */

export const NoteId = Schema.String.pipe(Schema.brand("NoteId"))

export class Note extends Model.Class<Note>("test/Note")({
  id: Table.key(NoteId),
  body: Schema.NonEmptyString,
  at: Table.insertedAt
}) {}

export const notes = Table.make("notes", Note, { key: "id", indexes: { byBody: ["body"] } })

/** Refers to a note, so that a test can make a commit fail. */
export class Mark extends Model.Class<Mark>("test/Mark")({
  id: Table.key(Schema.String),
  note: NoteId
}) {}

export const marks = Table.make("marks", Mark, { key: "id", references: { note: { table: () => notes } } })

export class Refused extends Schema.TaggedError<Refused>()("Refused", { why: Schema.String }) {}
export class CursorRefused extends Schema.TaggedError<CursorRefused>()("CursorRefused", {}) {}

/** How a handler ends after it has written. */
export const Ending = Schema.Literals([
  "typed failure",
  "undeclared failure",
  "defect",
  "thrown error",
  "interruption",
  "sleep",
  "promise",
  "deferred",
  "result that does not fit",
  "commit that fails"
])
export type Ending = typeof Ending.Type

/** A text in failures that no caller must see. */
export const secret = "SELECT password FROM vault"

export class NotesApi extends Api.make(
  Query.make("notes.list", { payload: {}, success: Schema.Array(Note) }),
  Query.make("notes.first", { payload: {}, success: Schema.Option(Note) }),
  Query.make("notes.named", { payload: { body: Schema.String }, success: Schema.Array(Note) }),
  Query.make("notes.namedBySql", { payload: { body: Schema.String }, success: Schema.Array(Schema.String) }),
  Query.make("notes.page", {
    payload: { size: Schema.Int, after: Schema.optionalKey(Schema.String) },
    success: Schema.Struct({ items: Schema.Array(Note), next: Schema.NullOr(Schema.String) }),
    error: CursorRefused
  }),
  Query.make("notes.pageByBody", {
    payload: { size: Schema.Int },
    success: Schema.Struct({ items: Schema.Array(Note), next: Schema.NullOr(Schema.String) })
  }),
  Mutation.make("notes.add", { payload: { body: Schema.NonEmptyString }, success: Note }),
  Mutation.make("notes.addMany", { payload: { count: Schema.Int, body: Schema.NonEmptyString }, success: Schema.Int }),
  Mutation.make("notes.addAndEnd", { payload: { ending: Ending }, success: Schema.Int, error: Refused }),
  /** Writes in a nested transaction that fails, and in one that succeeds. */
  Mutation.make("notes.addHalf", { payload: {}, success: Schema.Int }),
  /** Forks a fiber that writes after the transaction has ended. */
  Mutation.make("notes.addLater", { payload: {}, success: Schema.Int }),
  /** Completes the deferred for which a handler waits. */
  Mutation.make("notes.resume", { payload: {}, success: Schema.Boolean }),
  Query.make("end", { payload: { ending: Ending }, success: Schema.Int, error: Refused }),
  /** Without payload and result. */
  Query.make("nothing"),
  Mutation.make("nothingDone"),
  Query.make("look", {
    payload: {},
    success: Schema.Struct({ times: Schema.Array(Schema.Finite), randoms: Schema.Array(Schema.Finite) })
  }),
  Mutation.make("lookAndAdd", {
    payload: {},
    success: Schema.Struct({ times: Schema.Array(Schema.Finite), randoms: Schema.Array(Schema.Finite), note: Note })
  }),
  Query.make("whoami", { payload: {}, success: Auth.Identity }),
  Query.make("header", { payload: { name: Schema.String }, success: Schema.NullOr(Schema.String) }),
  Query.make("echo", { payload: { value: Schema.Json }, success: Schema.Json }),
  Query.make("keys", {
    payload: { record: Schema.Record(Schema.String, Schema.Json) },
    success: Schema.Array(Schema.String)
  }),
  Query.make("text", { payload: { length: Schema.Int, unit: Schema.String }, success: Schema.String }),
  Query.make("sql", { payload: { statement: Schema.String, parameters: Schema.Int }, success: Schema.Int }),
  Mutation.make("write", { payload: { statement: Schema.String }, success: Schema.Int }),
  Action.make("act.add", { payload: { body: Schema.NonEmptyString }, success: Note, error: Refused }),
  Action.make("act.end", { payload: { ending: Ending }, success: Schema.Int, error: Refused }),
  Action.make("act.wait", { payload: { name: Schema.String }, success: Schema.String }),
  Action.make("act.count", {
    payload: { to: Schema.Int, failAt: Schema.optionalKey(Schema.Int) },
    success: Schema.Int,
    error: Refused,
    stream: true
  }),
  /** An endless stream of numbers, each as text of the given length. */
  Action.make("act.forever", {
    payload: { name: Schema.String, length: Schema.Int },
    success: Schema.String,
    stream: true
  })
) {}

/** Ends in the given way. Its result may violate its type. */
const end = (ending: Ending): Effect.Effect<number, Refused> => {
  switch (ending) {
    case "typed failure":
      return Effect.fail(new Refused({ why: "because" }))
    case "undeclared failure":
      return Effect.fail(new Error(secret) as never)
    case "defect":
      return Effect.die(new Error(secret))
    case "thrown error":
      return Effect.sync(() => {
        throw new Error(secret)
      })
    case "interruption":
      return Effect.interrupt
    case "sleep":
      return Effect.as(Effect.sleep("1 second"), 1)
    case "promise":
      return Effect.promise(async () => 1)
    case "deferred":
      return Effect.tap(Deferred.await(waiting.current), () => Effect.sync(() => waiting.resumed++))
    case "result that does not fit":
      return Effect.succeed(secret as unknown as number)
    case "commit that fails":
      return Effect.succeed(1)
  }
}

/** The deferred of `deferred`, and the names of actions that wait for a minute. Shared within an isolate. */
export const waiting = {
  current: Deferred.makeUnsafe<number>(),
  /** How many handlers continued after waiting for the deferred. */
  resumed: 0,
  started: new Set<string>(),
  interrupted: new Set<string>(),
  /** How many items each endless stream has emitted. */
  emitted: new Map<string, number>()
}

const look = Effect.gen(function* () {
  const times = [yield* Clock.currentTimeMillis, yield* Clock.currentTimeMillis]
  const randoms = [yield* Random.next, yield* Random.next]
  return { times, randoms }
})

/** Runs an author's SQL. Its failures are undeclared. */
const sqlRows = (statement: string, parameters: ReadonlyArray<unknown> = []) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(statement, parameters)).pipe(Effect.orDie)

export const NotesHandlers = NotesApi.toLayer({
  "notes.list": () => notes.query(),
  "notes.first": () => notes.query().first,
  "notes.named": ({ body }) => notes.query("byBody").eq("body", body),
  "notes.namedBySql": ({ body }) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const rows = yield* Effect.orDie(sql<{ body: string }>`SELECT body FROM notes WHERE body = ${body}`)
      return rows.map((row) => row.body)
    }),
  "notes.page": ({ after, size }) =>
    notes
      .query()
      .page({ size, after })
      .pipe(Effect.catchReason("StorageError", "CursorInvalid", () => Effect.fail(new CursorRefused()))),
  "notes.pageByBody": ({ size }) => notes.query("byBody").page({ size }),
  "notes.add": ({ body }) => notes.insert({ body }),
  "notes.addMany": ({ body, count }) =>
    Effect.map(notes.insertMany(Array.from({ length: count }, () => ({ body }))), (rows) => rows.length),
  "notes.addAndEnd": Effect.fnUntraced(function* ({ ending }) {
    yield* notes.insert({ body: "gone" })
    if (ending === "commit that fails") {
      // Violates a foreign key that is checked at the commit.
      yield* sqlRows("PRAGMA defer_foreign_keys = ON")
      yield* sqlRows("INSERT INTO marks (id, note) VALUES ('m', 'no such note')")
    }
    return yield* end(ending)
  }),
  "notes.addHalf": () =>
    Effect.gen(function* () {
      yield* notes.insert({ body: "before" })
      yield* notes.insert({ body: "undone" }).pipe(Effect.andThen(Effect.fail("no")), Table.atomically, Effect.ignore)
      yield* Table.atomically(notes.insert({ body: "after" }))
      return yield* notes.query().count
    }),
  "notes.addLater": () =>
    Effect.gen(function* () {
      yield* notes.insert({ body: "at once" })
      yield* Effect.promise(async () => {}).pipe(
        Effect.andThen(notes.insert({ body: "too late" })),
        Effect.onExit((exit) => Effect.sync(() => lateWrites.push(exit))),
        Effect.forkDetach
      )
      return yield* notes.query().count
    }),
  "notes.resume": () => {
    const { current } = waiting
    waiting.current = Deferred.makeUnsafe()
    return Deferred.succeed(current, 1)
  },
  end: ({ ending }) => end(ending),
  nothing: () => Effect.void,
  nothingDone: () => Effect.void,
  look: () => look,
  lookAndAdd: () =>
    Effect.gen(function* () {
      const seen = yield* look
      return { ...seen, note: yield* notes.insert({ body: "seen" }) }
    }),
  whoami: () => Auth.identity,
  header: ({ name }, { headers }) => Effect.succeed(headers[name] ?? null),
  echo: ({ value }) => Effect.succeed(value),
  keys: ({ record }) => Effect.succeed(Object.keys(record)),
  text: ({ length, unit }) => Effect.succeed(unit.repeat(length)),
  sql: ({ parameters, statement }) =>
    Effect.map(
      sqlRows(
        statement,
        Array.from({ length: parameters }, (_, i) => i)
      ),
      (rows) => rows.length
    ),
  write: ({ statement }) => Effect.map(sqlRows(statement), (rows) => rows.length),
  "act.add": ({ body }) =>
    Effect.gen(function* () {
      const calls = yield* Calls.of(NotesApi)
      return yield* calls.mutate("notes.add", { body })
    }).pipe(
      Effect.catchTag("CallError", (error) => Effect.fail(new Refused({ why: error.message }))),
      Effect.orDie
    ),
  "act.end": ({ ending }) => end(ending),
  "act.wait": ({ name }) =>
    Effect.sync(() => waiting.started.add(name)).pipe(
      Effect.andThen(Effect.sleep("1 hour")),
      Effect.as(name),
      Effect.onInterrupt(() => Effect.sync(() => waiting.interrupted.add(name)))
    ),
  "act.count": ({ failAt, to }) =>
    Stream.range(1, to).pipe(
      Stream.mapEffect((n) => (n === failAt ? Effect.fail(new Refused({ why: `at ${n}` })) : Effect.succeed(n)))
    ),
  "act.forever": ({ length, name }) =>
    Stream.iterate(1, (n) => n + 1).pipe(
      Stream.map((n) => String(n).padStart(length)),
      Stream.rechunk(1),
      Stream.tap(() => Effect.sync(() => waiting.emitted.set(name, (waiting.emitted.get(name) ?? 0) + 1))),
      Stream.ensuring(Effect.sync(() => waiting.interrupted.add(name)))
    )
})

/** The exits of writes that ran after their transaction. */
export const lateWrites: Array<unknown> = []

export const app = App.make({ api: NotesApi, tables: [notes, marks], handlers: NotesHandlers })

/** The same app with small limits, for tests that exceed them. */
export const limited = App.make({
  api: NotesApi,
  tables: [notes, marks],
  handlers: NotesHandlers,
  limits: {
    rowsRead: 20,
    rowsWritten: 10,
    resultBytes: 2000,
    requestBytes: 3000,
    requestsPerBatch: 5,
    queuedMessages: 20,
    queuedBytes: 1500
  }
})
