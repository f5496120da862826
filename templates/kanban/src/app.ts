import { App } from "effect-dormouse"
import { AppApi } from "./api.ts"
import { AppHandlers } from "./handlers.ts"
import { boards, cards, columns } from "./schema.ts"

export const app = App.make({ api: AppApi, tables: [boards, columns, cards], handlers: AppHandlers })
