/**
 * What the object of a tenant does for whoever has the admin key: the rpcs by which the Worker asks for it.
 * No client can call them: their tags are reserved. They run without policies.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import {
  ExportPage,
  ExportRefused,
  ImportBatch,
  ImportId,
  ImportRefused,
  ImportState,
  ImportStep,
  Statement,
  StatementRefused,
  StatementResult
} from "../../admin/AdminApi.ts"
import * as Api from "../../contract/Api.ts"
import type { App } from "../../contract/App.ts"
import * as Mutation from "../../contract/Mutation.ts"
import * as Query from "../../contract/Query.ts"
import { StorageError, unrestricted } from "../../contract/Storage.ts"
import type { AnyTable } from "../../contract/TablePlan.ts"
import { CurrentStorage } from "../storage/RawSql.ts"
import type { TransactionStorage } from "../storage/TransactionStorage.ts"
import { Imports, transactional } from "./ImportRows.ts"
import * as Statements from "./Statements.ts"
import * as TableExport from "./TableExport.ts"
import * as TableImport from "./TableImport.ts"
import { inOrder } from "./TableOrder.ts"

const refusedImport = Schema.Union([ImportRefused, StorageError])

/** What the Worker asks an object for. */
export class AdminTransactions extends Api.make(
  Query.make("~admin.read", { payload: Statement, success: StatementResult, error: StatementRefused }),
  Mutation.make("~admin.write", { payload: Statement, success: StatementResult, error: StatementRefused }),
  Query.make("~admin.page", {
    payload: { cursor: Schema.NullOr(Schema.String) },
    success: ExportPage,
    error: ExportRefused
  }),
  Query.make("~admin.imported", { payload: { id: ImportId }, success: ImportState }),
  Mutation.make("~admin.forget", { payload: { id: ImportId } }),
  /** A `StorageError` is found at the end of the transaction: it does not say of which line it is. */
  Mutation.make("~admin.import", { payload: ImportBatch, success: ImportState, error: refusedImport }),
  Mutation.make("~admin.finish", {
    payload: { id: ImportId, before: Schema.NullOr(Schema.Int), together: Schema.Boolean },
    success: ImportStep,
    error: refusedImport
  })
) {}

/** The storage of the transaction, without policies. */
const withStorage = <A, E, R>(body: (storage: TransactionStorage) => Effect.Effect<A, E, R>) =>
  unrestricted(Effect.flatMap(CurrentStorage, ({ storage }) => body(storage)))

/** A function whose throws of one class are failures. */
const orRefused = <A, E>(body: () => A, isRefused: (error: unknown) => error is E): Effect.Effect<A, E> =>
  Effect.suspend(() => {
    try {
      return Exit.succeed(body())
    } catch (error) {
      if (isRefused(error)) return Exit.fail(error)
      throw error
    }
  })

const isExportRefused = (error: unknown): error is ExportRefused => error instanceof ExportRefused
const isImportRefused = (error: unknown): error is ImportRefused | StorageError =>
  error instanceof ImportRefused || error instanceof StorageError

const handlersFor = (declared: ReadonlyArray<AnyTable>): Layer.Layer<never, never, any> => {
  const tables = inOrder(declared)
  const importing = <A>(body: (context: TableImport.ImportContext) => A) =>
    withStorage((storage) =>
      Effect.flatMap(Imports, (imports) =>
        Effect.withFiber((fiber: Fiber.Fiber<any, any>) =>
          orRefused(() => body({ storage, imports, tables, fiber }), isImportRefused)
        )
      )
    )
  return AdminTransactions.toLayer({
    "~admin.read": (statement) => withStorage((storage) => Statements.run(storage, statement)),
    "~admin.write": (statement) => withStorage((storage) => Statements.run(storage, statement)),
    "~admin.page": ({ cursor }) =>
      withStorage((storage) => {
        const version = storage.runtime.version()
        return orRefused(() => ({ ...TableExport.next(storage, tables, cursor), version }), isExportRefused)
      }),
    "~admin.imported": ({ id }) => Effect.map(Imports, (imports) => imports.find(id)?.state ?? TableImport.nothing),
    "~admin.forget": ({ id }) => Effect.map(Imports, (imports) => imports.forget(id)),
    "~admin.import": (batch) => importing((context) => TableImport.batch(context, batch)),
    "~admin.finish": (asked) => importing((context) => TableImport.finish(context, asked))
  })
}

/** The app as objects run it for a deployment with an admin key. */
export const extend = <Rpcs extends Rpc.Any>(app: App<Rpcs>): App<Rpcs> => ({
  ...app,
  admin: {
    api: AdminTransactions,
    handlers: handlersFor(app.tables),
    servicesOver: () => Context.empty()
  },
  transactional: [...app.transactional, transactional]
})
