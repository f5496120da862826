import * as Schema from "effect/Schema"
import { Api, Mutation, Query } from "effect-dormouse"
import { Task, TaskId, TaskText } from "./schema.ts"

export class TaskNotFound extends Schema.TaggedError<TaskNotFound>()("TaskNotFound", { id: TaskId }) {}

/** What clients may call. Server and page share it. */
export class AppApi extends Api.make(
  Query.make("tasks.list", { payload: {}, success: Schema.Array(Task) }),
  Mutation.make("tasks.add", { payload: { text: TaskText }, success: Task }),
  Mutation.make("tasks.setDone", { payload: { id: TaskId, done: Schema.Boolean }, success: Task, error: TaskNotFound }),
  Mutation.make("tasks.remove", { payload: { id: TaskId } })
) {}
