import { useCallback, useEffect, useState } from "react"

export type Theme = "system" | "light" | "dark"

/** What this browser remembers of its user. */
export interface Settings {
  readonly name: string
  readonly theme: Theme
}

const key = "dormouse-chat"
const moods = ["Quiet", "Sleepy", "Gentle", "Brave", "Early", "Golden", "Mossy", "Curious"]
const things = ["Hazel", "Acorn", "Fern", "Bramble", "Clover", "Maple", "Willow", "Birch"]

const anyOf = (words: ReadonlyArray<string>): string => words[Math.floor(Math.random() * words.length)]!

const read = (): Settings => {
  const stored: Partial<Settings> = (() => {
    try {
      return JSON.parse(localStorage.getItem(key) ?? "{}")
    } catch {
      return {}
    }
  })()
  const { name, theme } = stored
  return {
    // A name to begin with: nobody has to introduce themselves before they can say something.
    name: typeof name === "string" && name.trim() !== "" ? name : `${anyOf(moods)} ${anyOf(things)}`,
    theme: theme === "light" || theme === "dark" ? theme : "system"
  }
}

export const useSettings = () => {
  const [settings, set] = useState(read)
  useEffect(() => {
    localStorage.setItem(key, JSON.stringify(settings))
    document.documentElement.dataset["theme"] = settings.theme
  }, [settings])
  const change = useCallback((changes: Partial<Settings>) => set((settings) => ({ ...settings, ...changes })), [])
  return [settings, change] as const
}
