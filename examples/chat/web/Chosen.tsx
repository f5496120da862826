import { type ChangeEvent, useRef } from "react"
import { Icon } from "./Icon.tsx"
import { useWaitsFor, wordsOf } from "./patience.ts"
import { type Chosen as File, sizeOf, type Uploading } from "./uploading.ts"

/** The files of the next message: how far they are, and what can be done with them. */
export const Chosen = ({ uploads }: { readonly uploads: Uploading }) =>
  uploads.files.length > 0 && (
    <ul className="chosen" aria-label="Files of the message">
      {uploads.files.map((each) => (
        <Item key={each.id} {...each} uploads={uploads} />
      ))}
    </ul>
  )

const Item = ({ file, id, preview, problem, sent, state, uploads }: File & { readonly uploads: Uploading }) => {
  const waiting = wordsOf(useWaitsFor(state === "uploading" && sent === 0), "Uploading…")
  return (
    <li data-state={state}>
      {preview === undefined ? <Icon name="page" /> : <img src={preview} alt="" />}
      <div>
        <span className="excerpt">{file.name}</span>
        {state === "uploading" ? (
          <>
            <progress aria-label={`Upload of ${file.name}`} max={Math.max(1, file.size)} value={sent} />
            <span className="state">{waiting}</span>
          </>
        ) : (
          <span className="state" role={state === "failed" ? "alert" : "status"}>
            {state === "failed" ? problem : `${sizeOf(file.size)}, ready`}
          </span>
        )}
      </div>
      {state === "failed" && (
        <button
          type="button"
          className="plain"
          aria-label={`Try again: ${file.name}`}
          onClick={() => uploads.again(id)}
        >
          Try again
        </button>
      )}
      <button
        type="button"
        className="plain"
        aria-label={`${state === "uploading" ? "Cancel" : "Remove"}: ${file.name}`}
        onClick={() => uploads.remove(id)}
      >
        {state === "uploading" ? "Cancel" : "Remove"}
      </button>
    </li>
  )
}

/** The button that chooses files. */
export const Choose = ({ uploads }: { readonly uploads: Uploading }) => {
  const input = useRef<HTMLInputElement>(null)
  const choose = ({ target }: ChangeEvent<HTMLInputElement>) => {
    uploads.add([...(target.files ?? [])])
    // The same file can be chosen again.
    target.value = ""
  }
  return (
    <>
      <input ref={input} type="file" multiple hidden onChange={choose} />
      <button
        type="button"
        className="quiet"
        aria-label="Attach files"
        title="Attach files"
        onClick={() => input.current?.click()}
      >
        <Icon name="clip" />
      </button>
    </>
  )
}
