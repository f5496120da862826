import { App } from "effect-dormouse"
import { AppApi } from "./api.ts"
import { AppHandlers } from "./handlers.ts"
import { tasks } from "./schema.ts"

export const app = App.make({ api: AppApi, tables: [tasks], handlers: AppHandlers })
