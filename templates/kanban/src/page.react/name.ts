import { useState } from "react"

/** The name under which this browser writes. */
export const useName = () => {
  const [name, setName] = useState(() => localStorage.getItem("name") ?? "")
  const save = (value: string) => {
    localStorage.setItem("name", value)
    setName(value)
  }
  return [name, save] as const
}
