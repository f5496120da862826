import { Api, App, Handlers } from "effect-dormouse"
import { Blobs } from "effect-dormouse/files"
import { Pubsub } from "effect-dormouse/pubsub"
import { accounts } from "./accounts.ts"
import { ChatApi } from "./api.ts"
import { ChatFiles } from "./files.ts"
import { ChatHandlers } from "./handlers.ts"
import { ChatJobs } from "./jobs.ts"
import { Me } from "./me.ts"
import { ChatPolicies } from "./policies.ts"
import { tables } from "./tables.ts"

export const app = App.make({
  api: Api.merge(ChatApi, accounts.api),
  tables: [...tables, ...accounts.tables],
  policies: ChatPolicies,
  handlers: Handlers.merge(ChatHandlers, accounts.handlers),
  transactional: accounts.transactional,
  jobs: ChatJobs,
  pubsub: Pubsub.make(),
  files: ChatFiles,
  actionServices: Blobs.layerR2("FILES"),
  identity: Me
})
