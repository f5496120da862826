import { type FormEvent, useState } from "react"
import { Task } from "../schema.ts"
import { Connection } from "./Connection.tsx"
import { useLive, useMutation } from "./client.ts"

export const App = () => {
  const { error, value: tasks } = useLive("tasks.list", {})
  return (
    <>
      <header>
        <h1>Tasks</h1>
        <Connection />
      </header>
      <AddTask />
      {error !== undefined && <p role="alert">{error.message}</p>}
      {tasks?.length === 0 && (
        <p className="hint">Nothing to do. Open this page in a second window, then add a task.</p>
      )}
      <ul className="tasks">
        {tasks?.map((task) => (
          <TaskItem key={task.id} task={task} />
        ))}
      </ul>
    </>
  )
}

const AddTask = () => {
  const [text, setText] = useState("")
  const [add, isPending] = useMutation("tasks.add")
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    const outcome = await add({ text: text.trim() })
    if (outcome._tag === "Success") setText("")
  }
  return (
    <form onSubmit={submit}>
      <input
        aria-label="New task"
        placeholder="What is to be done?"
        maxLength={200}
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      <button type="submit" disabled={isPending || text.trim() === ""}>
        Add
      </button>
    </form>
  )
}

const TaskItem = ({ task }: { readonly task: Task }) => {
  // The change is shown at once, and replaced by the server's value when it arrives.
  const [setDone] = useMutation("tasks.setDone", {
    optimistic: (view, { done, id }) =>
      view.update("tasks.list", {}, (tasks) =>
        tasks.map((each) => (each.id === id ? new Task({ ...each, done }) : each))
      )
  })
  const [remove] = useMutation("tasks.remove")
  return (
    <li>
      <label>
        <input
          type="checkbox"
          checked={task.done}
          onChange={(event) => setDone({ id: task.id, done: event.target.checked })}
        />
        <span>{task.text}</span>
      </label>
      <button type="button" aria-label={`Remove ${task.text}`} onClick={() => remove({ id: task.id })}>
        ×
      </button>
    </li>
  )
}
