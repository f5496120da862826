import { type FormEvent, useId, useState } from "react"
import type { Caller } from "../api.ts"
import { Dialog } from "./Dialog.tsx"
import { Face } from "./Face.tsx"
import { PendingLine } from "./Pending.tsx"
import { addPasskey, signIn, signInWithPasskey, signOut, signOutEverywhere, signUp } from "./session.ts"

/** Who the user is, and the ways to sign in and out. */
export const Account = ({ me }: { readonly me: Caller }) => {
  const [isOpen, open] = useState(false)
  return (
    <div className="account">
      <Face id={me.id} name={me.name} />
      <p>
        <span className="hidden">You are </span>
        <strong title={me.name}>{me.name}</strong>
        <span className="note">{me.isGuest ? "Guest" : "Signed in"}</span>
      </p>
      <button type="button" className="plain" onClick={() => open(true)}>
        {me.isGuest ? "Sign in" : "Account"}
      </button>
      <Dialog title={me.isGuest ? "Sign in" : me.name} isOpen={isOpen} onClose={() => open(false)}>
        {me.isGuest ? <Credentials /> : <Settings name={me.name} />}
      </Dialog>
    </div>
  )
}

/** Longer names are not found when somebody invites their user. */
const maxName = 60

const Credentials = () => {
  const [name, setName] = useState("")
  const [password, setPassword] = useState("")
  const { isPending, problem, run } = useWork()
  const [nameField, passwordField] = [useId(), useId()]
  const given = { name: name.trim(), password }
  const isTooLong = given.name.length > maxName
  const isEmpty = given.name === "" || password === "" || isTooLong
  const submit = (event: FormEvent) => {
    event.preventDefault()
    run(() => signIn(given))
  }
  return (
    <form className="fields" onSubmit={submit}>
      <p className="about">A new account keeps your messages and your channels.</p>
      <label htmlFor={nameField}>Name</label>
      <input
        id={nameField}
        value={name}
        aria-invalid={isTooLong}
        autoComplete="username"
        autoCapitalize="none"
        onChange={(event) => setName(event.target.value)}
      />
      <label htmlFor={passwordField}>Password</label>
      <input
        id={passwordField}
        type="password"
        value={password}
        autoComplete="current-password"
        onChange={(event) => setPassword(event.target.value)}
      />
      <p className="problem" role="alert">
        {isTooLong ? `A name has at most ${maxName} characters. This one has ${given.name.length}.` : problem}
      </p>
      <PendingLine isPending={isPending} doing="Signing in…" />
      <div className="line">
        <button type="submit" className="primary" disabled={isEmpty || isPending}>
          Sign in
        </button>
        <button
          type="button"
          className="plain"
          disabled={isEmpty || isPending}
          onClick={() => run(() => signUp(given))}
        >
          Create an account
        </button>
      </div>
      <button type="button" className="plain" disabled={isPending} onClick={() => run(signInWithPasskey)}>
        Use a passkey
      </button>
    </form>
  )
}

const Settings = ({ name }: { readonly name: string }) => {
  const { isPending, problem, run } = useWork()
  const [isAdded, setAdded] = useState(false)
  const add = async () => {
    const problem = await addPasskey(name)
    setAdded(problem === undefined)
    return problem
  }
  return (
    <div className="fields">
      <button type="button" className="plain" disabled={isPending} onClick={() => run(add)}>
        Add a passkey
      </button>
      <p role="status">{isAdded && "The passkey was added. You can sign in with it, without a password."}</p>
      <button type="button" className="primary" disabled={isPending} onClick={() => run(signOut)}>
        Sign out
      </button>
      <button type="button" className="plain" disabled={isPending} onClick={() => run(signOutEverywhere)}>
        Sign out everywhere
      </button>
      <PendingLine isPending={isPending} doing="One moment…" />
      <p className="problem" role="alert">
        {problem}
      </p>
    </div>
  )
}

/** Runs one thing at a time, and has what went wrong. After a sign-in or a sign-out the whole page begins anew. */
const useWork = () => {
  const [isPending, setPending] = useState(false)
  const [problem, setProblem] = useState("")
  const run = async (work: () => Promise<string | undefined>) => {
    setPending(true)
    setProblem("")
    setProblem((await work()) ?? "")
    setPending(false)
  }
  return { isPending, problem, run }
}
