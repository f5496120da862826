/** When and how the page says that the server has not answered yet. */
import { useEffect, useState } from "react"
import { useConnection } from "./client.ts"

/** Milliseconds. An answer that comes within this time needs no words. */
const patience = 400

/** What something waits for that has no answer yet. It is `nothing` at first: most answers are there before it matters. */
export type WaitsFor = "nothing" | "answer" | "server" | "network"

/** What something waits for, if it waits. */
export const useWaitsFor = (isPending: boolean): WaitsFor => {
  const [isSlow, setSlow] = useState(false)
  const { _tag } = useConnection()
  useEffect(() => {
    if (!isPending) return
    const timer = setTimeout(() => setSlow(true), patience)
    return () => {
      clearTimeout(timer)
      setSlow(false)
    }
  }, [isPending])
  if (!isPending || !isSlow) return "nothing"
  if (_tag === "Offline") return "network"
  return _tag === "Live" ? "answer" : "server"
}

/** The same in words, of one thing. `doing` is what is said while the server works on it, such as `Sending…`. */
export const wordsOf = (waitsFor: WaitsFor, doing: string): string => {
  if (waitsFor === "nothing") return ""
  return waitsFor === "answer" ? doing : `Waits for the ${waitsFor}`
}

/** The same of several messages, and changes of messages: `2 messages and 1 change wait for the network`. */
export const wordsOfAll = (waitsFor: WaitsFor, messages: number, changes: number): string => {
  if (waitsFor === "nothing" || messages + changes === 0) return ""
  if (waitsFor === "answer") return "Sending…"
  const counts = [countOf(messages, "message"), countOf(changes, "change")].filter((count) => count !== "")
  return `${counts.join(" and ")} ${messages + changes === 1 ? "waits" : "wait"} for the ${waitsFor}`
}

const countOf = (number: number, noun: string): string =>
  number === 0 ? "" : `${number} ${number === 1 ? noun : `${noun}s`}`
