import { App } from "effect-dormouse"
import { KanbanApi } from "./api.ts"

/** The history of each board: whenever a card is added, finished, reopened or deleted, the new totals are recorded. */
export const recordProgress = App.react(KanbanApi, {
  name: "progress",
  query: "progress.totals",
  queryPayload: {},
  mutation: "progress.record",
  mutationPayload: (totals) => ({ totals })
})
