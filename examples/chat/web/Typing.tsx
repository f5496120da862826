import { useCallback, useEffect, useRef, useState } from "react"
import type { Caller } from "../api.ts"
import type { PersonHere } from "../presence/api.ts"
import { namesOf } from "./names.ts"

/** Milliseconds after the last key for which the user counts as typing. */
const pause = 4000

/** Whether the user types, and what to call when the text has changed. An empty text is not typed. */
export const useTyping = () => {
  const [isTyping, setTyping] = useState(false)
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  const typed = useCallback((text: string) => {
    clearTimeout(timer.current)
    setTyping(text !== "")
    if (text !== "") timer.current = setTimeout(() => setTyping(false), pause)
  }, [])
  useEffect(() => () => clearTimeout(timer.current), [])
  return [isTyping, typed] as const
}

/** Who else types. The line is there when nobody does, so that the page does not jump. */
export const Typing = ({ me, people }: { readonly people: ReadonlyArray<PersonHere>; readonly me: Caller }) => {
  const names = people.filter(({ id, isTyping }) => isTyping && id !== me.id).map(({ name }) => name)
  return (
    <p className="typing" role="status" aria-label="Who is typing">
      {names.length > 0 && `${namesOf(names)} ${names.length === 1 ? "is" : "are"} typing…`}
    </p>
  )
}
