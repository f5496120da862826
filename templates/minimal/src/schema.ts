import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Table } from "effect-dormouse"

export const TaskId = Schema.String.pipe(Schema.brand("TaskId"))
export type TaskId = typeof TaskId.Type

export const TaskText = Schema.String.check(Schema.isBetweenLength(1, 200))

export class Task extends Model.Class<Task>("app/Task")({
  id: Table.key(TaskId),
  text: TaskText,
  done: Schema.Boolean,
  createdAt: Table.insertedAt
}) {}

export const tasks = Table.make("tasks", Task, { key: "id", indexes: { byAge: ["createdAt"] } })
