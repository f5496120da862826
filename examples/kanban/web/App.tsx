import { type FormEvent, useEffect, useState } from "react"
import type { Board as BoardRow, Person } from "../schema.ts"
import { Board } from "./Board.tsx"
import { ConnectionWords } from "./Connection.tsx"
import { useLive, useMutation } from "./client.ts"
import { addressOf, mine, usePlace } from "./location.ts"
import { Mine } from "./Mine.tsx"

/** The whole page: who the user is, the boards, and the one that the address names. */
export const App = () => {
  const { value: me } = useLive("people.me", {})
  const { error, value: boards } = useLive("boards.list", {})
  const place = usePlace()
  const [enter] = useMutation("people.enter")
  // Without an answer, the next visit does it.
  useEffect(() => void enter({}).catch(() => undefined), [enter])
  const board = boards && boardOf(boards, place._tag === "Board" ? place.name : undefined)
  return (
    <div className="app">
      <header className="top">
        <h1>
          <img src="/dormouse.svg" alt="" width="28" height="28" /> Boards
        </h1>
        <nav aria-label="Boards">
          <ul>
            {boards?.map(({ id, name }) => (
              <li key={id}>
                <a
                  href={addressOf(name)}
                  aria-current={place._tag === "Board" && board?.id === id ? "page" : undefined}
                >
                  {name}
                </a>
              </li>
            ))}
            <li>
              <a href={mine} aria-current={place._tag === "Mine" ? "page" : undefined}>
                Assigned to me
              </a>
            </li>
          </ul>
        </nav>
        <NewBoard />
        {me && <MyName key={me.name} me={me} />}
        <ConnectionWords />
      </header>
      <main>
        {error !== undefined ? (
          <p role="alert">The boards cannot be shown: {error.message}</p>
        ) : boards === undefined || !me ? null : place._tag === "Mine" ? (
          <Mine boards={boards} />
        ) : board === undefined ? (
          <p className="empty">
            There is no board {place.name === "" ? "yet" : `named ${place.name}`}. Make the first one.
          </p>
        ) : (
          <Board key={board.id} board={board} me={me} />
        )}
      </main>
    </div>
  )
}

/** The board of a name; the first one without a name. */
const boardOf = (boards: ReadonlyArray<BoardRow>, name: string | undefined): BoardRow | undefined =>
  name === "" ? boards[0] : boards.find((board) => board.name === name)

const NewBoard = () => {
  const [name, setName] = useState("")
  const [problem, setProblem] = useState("")
  const [create, isPending] = useMutation("boards.create")
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    const outcome = await create({ name: name.trim() }).catch(() => undefined)
    if (outcome?._tag === "Success") {
      setName("")
      setProblem("")
      location.hash = addressOf(outcome.value.name)
      return
    }
    const isTaken = outcome?.error._tag === "BoardExists"
    setProblem(isTaken ? "There is a board with this name." : "The board could not be made.")
  }
  return (
    <form onSubmit={submit}>
      <input
        aria-label="Name of a new board"
        placeholder="New board"
        value={name}
        maxLength={60}
        onChange={(event) => setName(event.target.value)}
      />
      <button type="submit" disabled={name.trim() === "" || isPending}>
        Create
      </button>
      <p role="alert">{problem}</p>
    </form>
  )
}

/** The user's name, which can be changed. */
const MyName = ({ me }: { readonly me: Person }) => {
  const [name, setName] = useState<string>(me.name)
  const [rename] = useMutation("people.rename")
  const save = () => {
    if (name.trim() === "") setName(me.name)
    else rename({ name: name.trim() }).catch(() => undefined)
  }
  return (
    <input
      className="me"
      aria-label="Your name"
      value={name}
      maxLength={60}
      onChange={(event) => setName(event.target.value)}
      onBlur={save}
    />
  )
}
