import { Policy } from "effect-dormouse/auth"
import { Me } from "./me.ts"
import { comments, people } from "./schema.ts"

const { make } = Policy.for(Me)

/** Boards belong to everybody in the tenant. Comments are deleted by their authors, and nobody renames somebody else. */
export const KanbanPolicies = [
  make(comments, {
    read: () => Policy.allow,
    insert: ({ me, row }) => Policy.eq(row.author, me.subject),
    delete: ({ me, row }) => Policy.eq(row.author, me.subject),
    set: { author: ({ me }) => me.subject }
  }),
  make(people, {
    read: () => Policy.allow,
    insert: ({ me, row }) => Policy.eq(row.id, me.subject),
    update: ({ me, row }) => Policy.eq(row.id, me.subject),
    set: { id: ({ me }) => me.subject }
  })
]
