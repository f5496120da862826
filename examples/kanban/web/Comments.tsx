import * as DateTime from "effect/DateTime"
import { type FormEvent, useState } from "react"
import { type CardId, Comment, CommentId, type Person } from "../schema.ts"
import { useLive, useMutation } from "./client.ts"

interface Props {
  readonly card: CardId
  readonly people: ReadonlyArray<Person>
  readonly me: Person
}

/** What people say about a card. */
export const Comments = ({ card, me, people }: Props) => {
  const { value: comments = [] } = useLive("comments.list", { card })
  const [body, setBody] = useState("")
  const [add] = useMutation("comments.add", {
    optimistic: (view, comment) =>
      view.update("comments.list", { card }, (comments) => [
        ...comments,
        new Comment({ ...comment, author: me.id, writtenAt: DateTime.nowUnsafe() })
      ])
  })
  const [remove] = useMutation("comments.delete", {
    optimistic: (view, { comment }) =>
      view.update("comments.list", { card }, (comments) => comments.filter(({ id }) => id !== comment))
  })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    if (body.trim() === "") return
    add({ id: CommentId.make(crypto.randomUUID()), card, body: body.trim() }).catch(() => undefined)
    setBody("")
  }
  const nameOf = (author: string) => people.find(({ id }) => id === author)?.name ?? "A guest"
  return (
    <section aria-label="Comments">
      <ul className="comments">
        {comments.map((comment) => (
          <li key={comment.id}>
            <p>
              <strong>{comment.author === me.id ? "You" : nameOf(comment.author)}</strong>{" "}
              <time dateTime={DateTime.formatIso(comment.writtenAt)}>
                {DateTime.formatLocal(comment.writtenAt, { dateStyle: "short", timeStyle: "short" })}
              </time>
              {comment.author === me.id && (
                <button
                  type="button"
                  className="plain"
                  aria-label={`Delete your comment: ${comment.body}`}
                  onClick={() => remove({ comment: comment.id }).catch(() => undefined)}
                >
                  Delete
                </button>
              )}
            </p>
            <p className="text">{comment.body}</p>
          </li>
        ))}
      </ul>
      <form onSubmit={submit} className="line">
        <input
          aria-label="A comment"
          placeholder="Add a comment"
          value={body}
          maxLength={4000}
          onChange={(event) => setBody(event.target.value)}
        />
        <button type="submit" disabled={body.trim() === ""}>
          Comment
        </button>
      </form>
    </section>
  )
}
