import { useEffect, useRef } from "react"
import { Dialog } from "./Dialog.tsx"

/** What the shortcuts do. */
export interface Actions {
  readonly write: () => void
  readonly create: () => void
  readonly find: () => void
  readonly step: (by: number) => void
  readonly help: () => void
}

const list: ReadonlyArray<readonly [keys: ReadonlyArray<string>, what: string]> = [
  [["Enter"], "Send the message"],
  [["Shift", "Enter"], "Begin a new line"],
  [["↑"], "In the empty field: change your last message"],
  [["/"], "Go to the message field"],
  [["Alt", "↑"], "Previous channel"],
  [["Alt", "↓"], "Next channel"],
  [["F"], "Find a channel"],
  [["N"], "New channel"],
  [["Page Up"], "Scroll back to older messages"],
  [["Esc"], "Leave a field, or close this"],
  [["?"], "These shortcuts"]
]

/** Binds the shortcuts. Single keys work outside of text fields, Alt with an arrow everywhere. */
export const useShortcuts = (actions: Actions): void => {
  const latest = useRef(actions)
  useEffect(() => {
    latest.current = actions
  })
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.defaultPrevented || document.querySelector("dialog[open]")) return
      const act = actionOf(event, latest.current)
      if (act === undefined) return
      event.preventDefault()
      act()
    }
    document.addEventListener("keydown", onKeyDown)
    return () => document.removeEventListener("keydown", onKeyDown)
  }, [])
}

const actionOf = (event: KeyboardEvent, actions: Actions): (() => void) | undefined => {
  if (event.altKey) {
    if (event.key === "ArrowUp") return () => actions.step(-1)
    if (event.key === "ArrowDown") return () => actions.step(1)
    return undefined
  }
  if (event.target instanceof HTMLElement && event.target.matches("input:not([type=radio]), textarea, select"))
    return undefined
  switch (event.key) {
    case "/":
      return actions.write
    case "f":
    case "F":
      return actions.find
    case "n":
    case "N":
      return actions.create
    case "?":
      return actions.help
  }
  return undefined
}

/** The dialog that lists the shortcuts. */
export const Shortcuts = ({ isOpen, onClose }: { readonly isOpen: boolean; readonly onClose: () => void }) => (
  <Dialog title="Keyboard shortcuts" isOpen={isOpen} onClose={onClose}>
    <dl className="shortcuts">
      {list.map(([keys, what]) => (
        <div key={what}>
          <dt>
            {keys.map((key) => (
              <kbd key={key}>{key}</kbd>
            ))}
          </dt>
          <dd>{what}</dd>
        </div>
      ))}
    </dl>
  </Dialog>
)
