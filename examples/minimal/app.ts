import { App } from "effect-dormouse"
import { ChatApi } from "./api.ts"
import { ChatHandlers } from "./handlers.ts"
import { channels, messages } from "./schema.ts"

export const app = App.make({ api: ChatApi, tables: [channels, messages], handlers: ChatHandlers })
