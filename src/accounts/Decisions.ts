/**
 * What accounts decide, as functions from data to data: who signs in as whom, and what a refresh token is worth.
 * The mutations carry it out.
 */

/** What a caller shows: nothing, a name and password that it chooses, or something that proves an identity. */
export type Proof = "anonymous" | "signUp" | "signIn" | "verified"

/** The caller's own account, and the account that the identity belongs to. */
export interface Known<Id> {
  readonly proof: Proof
  readonly method: string
  /** The account that the caller is signed in to, with its methods. */
  readonly caller: { readonly account: Id; readonly methods: ReadonlyArray<string> } | undefined
  /** The account that has the identity. */
  readonly owner: Id | undefined
}

/** As whom a caller is signed in, and what changes. */
export type Entrance<Id> =
  | { readonly _tag: "Create" }
  | { readonly _tag: "Link"; readonly account: Id }
  | { readonly _tag: "SignIn"; readonly account: Id }
  | { readonly _tag: "Merge"; readonly from: Id; readonly into: Id }
  | { readonly _tag: "NameTaken" | "AlreadyLinked" | "InvalidCredentials" }

/** Decides as whom a caller is signed in. An account keeps its id, unless it was anonymous and its owner has another one. */
export const entrance = <Id>({ caller, method, owner, proof }: Known<Id>): Entrance<Id> => {
  if (proof === "anonymous") return { _tag: "Create" }
  if (proof === "signUp") {
    if (caller?.methods.includes(method)) return { _tag: "AlreadyLinked" }
    if (owner !== undefined) return { _tag: "NameTaken" }
  }
  if (owner === undefined) {
    if (proof === "signIn") return { _tag: "InvalidCredentials" }
    return caller === undefined ? { _tag: "Create" } : { _tag: "Link", account: caller.account }
  }
  if (caller === undefined || caller.account === owner) return { _tag: "SignIn", account: owner }
  return caller.methods.length === 0 ? { _tag: "Merge", from: caller.account, into: owner } : { _tag: "AlreadyLinked" }
}

/** What is known of a session. Times are milliseconds since the epoch. */
export interface SessionState {
  readonly current: string
  readonly previous: string | null
  /** When the current token replaced the one before. */
  readonly usedAt: number
  readonly expires: number
}

/**
 * What a refresh token is worth. `Repeat`: it was used a moment ago, and its answer may have been lost, so it gets the same answer.
 * `Reuse`: it was used before, so somebody else has it too.
 */
export type Rotation = "Rotate" | "Repeat" | "Reuse" | "Expired"

/** Decides what a refresh token of a session's family is worth. */
export const rotation = (
  { current, expires, previous, usedAt }: SessionState,
  presented: string,
  now: number,
  grace: number
): Rotation => {
  if (expires <= now) return "Expired"
  if (presented === current) return "Rotate"
  return presented === previous && now < usedAt + grace ? "Repeat" : "Reuse"
}
