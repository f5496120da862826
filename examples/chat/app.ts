import { Api, App, Handlers } from "effect-dormouse"
import { accounts } from "./accounts.ts"
import { ChatApi } from "./api.ts"
import { ChatHandlers } from "./handlers.ts"
import { Me } from "./me.ts"
import { ChatPolicies } from "./policies.ts"
import { channels, members, messages, people } from "./schema.ts"

export const app = App.make({
  api: Api.merge(ChatApi, accounts.api),
  tables: [channels, members, messages, people, ...accounts.tables],
  policies: ChatPolicies,
  handlers: Handlers.merge(ChatHandlers, accounts.handlers),
  transactional: accounts.transactional,
  identity: Me
})
