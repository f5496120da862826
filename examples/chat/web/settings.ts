import { useCallback, useEffect, useState } from "react"

/** The color scheme: that of the system, or a fixed one. */
export type Theme = "system" | "light" | "dark"

/** The settings that this browser stores. */
export interface Settings {
  readonly theme: Theme
}

const key = "dormouse-chat-settings"

const read = (): Settings => {
  const stored: Partial<Settings> = (() => {
    try {
      return JSON.parse(localStorage.getItem(key) ?? "{}")
    } catch {
      return {}
    }
  })()
  const { theme } = stored
  return { theme: theme === "light" || theme === "dark" ? theme : "system" }
}

/** The settings, and a function that changes them. They are stored in `localStorage`. */
export const useSettings = () => {
  const [settings, set] = useState(read)
  useEffect(() => {
    localStorage.setItem(key, JSON.stringify(settings))
    document.documentElement.dataset["theme"] = settings.theme
  }, [settings])
  const change = useCallback((changes: Partial<Settings>) => set((settings) => ({ ...settings, ...changes })), [])
  return [settings, change] as const
}
