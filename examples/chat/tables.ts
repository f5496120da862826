import { attachments } from "./attachments/schema.ts"
import { teams } from "./digest/schema.ts"
import { imports } from "./imports/schema.ts"
import { readMarks } from "./reading/schema.ts"
import { scheduled } from "./scheduled/schema.ts"
import { channels, members, messages, people } from "./schema.ts"

/** The tables of the chat, but for those of its accounts. */
export const tables = [channels, members, messages, people, scheduled, imports, teams, readMarks, attachments]
