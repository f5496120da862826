import { DurableObject } from "cloudflare:workers"
import { Api, App, Handlers } from "effect-dormouse"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { ChatApi } from "../../examples/chat/api.ts"
import { ChatHandlers } from "../../examples/chat/handlers.ts"
import { channels, messages } from "../../examples/chat/schema.ts"
import { make } from "../../src/do/TenantObject.ts"
import * as Guarded from "./guarded.ts"
import { ledgerApp } from "./ledger.ts"
import * as ListsApp from "./lists.ts"
import * as Notes from "./notes.ts"
import { starts } from "./starts.ts"

/** The chat, the app whose handlers do what they must not, and the one with middleware, as one. */
const app = App.make({
  api: Api.merge(ChatApi, Notes.NotesApi, Guarded.GuardedApi),
  tables: [channels, messages, Notes.notes, Notes.marks, Guarded.lines],
  handlers: Handlers.merge(ChatHandlers, Notes.NotesHandlers, Guarded.guardedHandlers),
  middleware: Guarded.GuardLive,
  services: Guarded.NamesLive,
  actionServices: Guarded.NamesLive
})

const served = Cloudflare.serve(app, { tenants: (name) => !name.startsWith("nobody") })
export const { worker } = served
export default worker

type Arguments = ConstructorParameters<typeof served.TenantObject>

/** Counts how often its objects are built. */
const counted = (Base: typeof served.TenantObject) =>
  class extends Base {
    constructor(...[ctx, env]: Arguments) {
      super(ctx, env)
      const id = ctx.id.toString()
      starts.set(id, (starts.get(id) ?? 0) + 1)
    }
  }

export class TenantObject extends counted(served.TenantObject) {}

/** Answers pings itself. */
export class Pinged extends counted(
  class extends served.TenantObject {
    constructor(...[ctx, env]: Arguments) {
      super(ctx, env)
      ctx.setWebSocketAutoResponse()
    }
  }
) {}

/** Has a timer. */
export class Restless extends counted(
  class extends served.TenantObject {
    constructor(...[ctx, env]: Arguments) {
      super(ctx, env)
      setInterval(() => {}, 1000)
    }
  }
) {}

/** Dies after a message that asks for it, before what it did can be durable. */
export class Dying extends counted(
  class extends served.TenantObject {
    override webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): void {
      super.webSocketMessage?.(socket, data)
      if (typeof data === "string" && data.includes("die now")) this.ctx.abort("killed by the test")
    }
  }
) {}

/** The same app with limits that a test can reach. */
export class Limited extends counted(make(Notes.limited) as never) {}

/** Middleware of the author's own around a reactor. */
export class GuardedObject extends counted(make(Guarded.guardedReactorApp) as never) {}

/** A service of the author's own that takes part in transactions. */
export class LedgerObject extends counted(make(ledgerApp) as never) {}

/** Lists, for live queries. */
export class Lists extends counted(make(ListsApp.app) as never) {}

/** An empty object with SQLite storage, for suites that run inside it. */
export class Probe extends DurableObject {}

/** An object of an author's own, with storage alone. */
export { NotesObject } from "../../examples/embed/object.ts"
