import { open } from "../../src/services/storage/PolicyPort.ts"
import { policies } from "../contract/policyTables.ts"

/** What all guards of policies inherit, for the controls of tests. Its methods include private ones. */
export const guards = (): any => {
  // Nothing of a storage is used.
  const opened = open(policies, { table: (table: object) => ({ table }) } as never)
  return Object.getPrototypeOf(opened?.guard({} as never, () => ({ subject: null, claims: {} })))
}
