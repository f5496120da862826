import { type FormEvent, useState } from "react"
import { Board } from "./Board.tsx"
import { Connection } from "./Connection.tsx"
import { useLive, useMutation } from "./client.ts"
import { useName } from "./name.ts"

export const App = () => {
  const [name, setName] = useName()
  const { error, value: boards } = useLive("boards.list", {})
  const [chosen, choose] = useState<string>()
  const board = boards?.find(({ id }) => id === chosen) ?? boards?.[0]
  return (
    <>
      <header>
        <h1>{board?.title ?? "Kanban"}</h1>
        <Connection />
      </header>
      <div className="settings">
        <label>
          Your name
          <input value={name} maxLength={40} onChange={(event) => setName(event.target.value)} />
        </label>
        <label>
          Board
          <select value={board?.id ?? ""} onChange={(event) => choose(event.target.value)}>
            {boards?.map(({ id, title }) => (
              <option key={id} value={id}>
                {title}
              </option>
            ))}
          </select>
        </label>
        <NewBoard onMade={choose} />
      </div>
      {error !== undefined && <p role="alert">{error.message}</p>}
      {boards?.length === 0 && <p className="hint">Make a board, and open this page in a second window.</p>}
      {board !== undefined && <Board key={board.id} board={board.id} me={name.trim()} />}
    </>
  )
}

const NewBoard = ({ onMade }: { readonly onMade: (id: string) => void }) => {
  const [title, setTitle] = useState("")
  const [create, isPending] = useMutation("boards.create")
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    const outcome = await create({ title: title.trim() })
    if (outcome._tag === "Failure") return
    setTitle("")
    onMade(outcome.value.id)
  }
  return (
    <form onSubmit={submit}>
      <input
        aria-label="New board"
        placeholder="New board"
        maxLength={200}
        value={title}
        onChange={(event) => setTitle(event.target.value)}
      />
      <button type="submit" disabled={isPending || title.trim() === ""}>
        Create
      </button>
    </form>
  )
}
