import { App } from "effect-dormouse"
import { AppApi } from "./api.ts"
import { AppHandlers } from "./handlers.ts"
import { channels, messages } from "./schema.ts"

export const app = App.make({ api: AppApi, tables: [channels, messages], handlers: AppHandlers })
