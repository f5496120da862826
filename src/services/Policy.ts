/**
 * Policies: which rows and fields of a table a caller may read and write, as conditions on the row and the caller.
 * An app that declares none does not contain what enforces them.
 */
import type { AnyService } from "../contract/Auth.ts"
import { type ClaimsOf, type Declare, declare } from "../contract/Policy.ts"
import { operandOf } from "../contract/PolicyCondition.ts"
import { enforcement } from "./storage/PolicyGuard.ts"
import { enforceBy } from "./storage/PolicyPort.ts"
import * as PolicyProgram from "./storage/PolicyProgram.ts"

export type { FieldPolicy, Operation, Policy, PolicyOptions, Rule, Subject } from "../contract/Policy.ts"
export {
  allow,
  and,
  type Condition,
  claim,
  deny,
  type Expression,
  eq,
  exists,
  gt,
  gte,
  in,
  isNull,
  isSystem,
  lt,
  lte,
  type Me,
  ne,
  not,
  or
} from "../contract/PolicyCondition.ts"

/**
 * Declares a policy of a table: for each operation a condition on the row and the caller. What is not given is denied. The
 * conditions are built here, once: `row` and `me` stand for the values of a later call. Give the policies to `App.make` or
 * `Storage.layer`. Throws for a condition that cannot be evaluated, such as an `exists` that no index serves.
 */
export const make: Declare<any> = (table, options) => {
  const policy = declare(table, options)
  PolicyProgram.make(table, [policy], operandOf)
  enforceBy(policy, enforcement)
  return policy
}

const forService = <S extends AnyService>(_service: S): { readonly make: Declare<ClaimsOf<S>> } => ({ make })

export {
  /** The same with the claims of an `Auth.Service`: `me.claims` has their types. */
  forService as for
}
