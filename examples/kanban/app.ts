import { Api, App, Handlers } from "effect-dormouse"
import { accounts } from "./accounts.ts"
import { KanbanApi } from "./api.ts"
import { KanbanHandlers } from "./handlers.ts"
import { Me } from "./me.ts"
import { KanbanPolicies } from "./policies.ts"
import { recordProgress } from "./reactors.ts"
import { tables } from "./schema.ts"

export const app = App.make({
  api: Api.merge(KanbanApi, accounts.api),
  tables: [...tables, ...accounts.tables],
  policies: KanbanPolicies,
  handlers: Handlers.merge(KanbanHandlers, accounts.handlers),
  transactional: accounts.transactional,
  reactors: [recordProgress],
  identity: Me
})
