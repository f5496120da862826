import { useEffect, useLayoutEffect, useRef, useState } from "react"
import type { Message } from "../schema.ts"

/**
 * The scroll position of the log. At the end, it stays at the end when messages arrive. Further up, the messages in
 * view stay where they are, whether messages are added above or below.
 */
export const useScroll = (messages: ReadonlyArray<Message>, lines: number) => {
  const log = useRef<HTMLElement>(null)
  const place = useRef({ height: 0, first: "", isAtEnd: true })
  const [isAtEnd, setAtEnd] = useState(true)
  const [seen, setSeen] = useState("")
  const first = messages[0]?.id ?? ""
  const last = messages.at(-1)?.id ?? ""

  const toEnd = () => {
    place.current.isAtEnd = true
    log.current!.scrollTop = log.current!.scrollHeight
  }
  const onScroll = () => {
    const { clientHeight, scrollHeight, scrollTop } = log.current!
    place.current.isAtEnd = scrollHeight - scrollTop - clientHeight < 48
    setAtEnd(place.current.isAtEnd)
    if (place.current.isAtEnd) setSeen(last)
  }
  // biome-ignore lint/correctness/useExhaustiveDependencies: the effect runs when the height may have changed
  useLayoutEffect(() => {
    const element = log.current!
    const before = place.current
    if (before.isAtEnd) element.scrollTop = element.scrollHeight
    else if (before.first !== first) element.scrollTop += element.scrollHeight - before.height
    place.current = { height: element.scrollHeight, first, isAtEnd: before.isAtEnd }
    if (before.isAtEnd) setSeen(last)
  }, [first, last, messages.length, lines])
  useEffect(() => {
    // The keyboard of a phone, or another line in the field, makes the log smaller; a changed text makes a message longer.
    const observer = new ResizeObserver(() => {
      const element = log.current
      // The observer may report once more after the log has gone.
      if (element !== null && place.current.isAtEnd) element.scrollTop = element.scrollHeight
    })
    observer.observe(log.current!)
    observer.observe(log.current!.firstElementChild!)
    return () => observer.disconnect()
  }, [])

  const unseen = seen === "" ? 0 : Math.max(0, messages.length - 1 - messages.findIndex(({ id }) => id === seen))
  return { log, isAtEnd, unseen: isAtEnd || unseen >= messages.length ? 0 : unseen, toEnd, onScroll }
}
