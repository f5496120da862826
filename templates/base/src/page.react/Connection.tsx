import { useConnection } from "./client.ts"

/** How fresh the page is. */
export const Connection = () => <span role="status">{useConnection()._tag.toLowerCase()}</span>
