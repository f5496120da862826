import { Files } from "effect-dormouse/files"
import { AttachedFiles } from "./attachments/schema.ts"

/** The files of the chat. A guest cannot fill the bucket: neither alone, nor with others. */
export const ChatFiles = Files.make({
  buckets: [AttachedFiles],
  quota: { identity: 200_000_000, tenant: 2_000_000_000 }
})
