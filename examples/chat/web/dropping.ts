import { useEffect, useState } from "react"

const hasFiles = (event: DragEvent): boolean =>
  event.dataTransfer?.types.includes("Files") === true && document.querySelector("dialog[open]") === null

/** Takes files that are dropped on the page, which the browser would open otherwise. Returns whether some are dragged over it. */
export const useDrop = (take: (files: ReadonlyArray<File>) => void): boolean => {
  const [isOver, setOver] = useState(false)
  useEffect(() => {
    const over = (event: DragEvent) => {
      if (!hasFiles(event)) return
      event.preventDefault()
      setOver(true)
    }
    // Leaving one element for another one is no end.
    const leave = (event: DragEvent) => event.relatedTarget === null && setOver(false)
    const drop = (event: DragEvent) => {
      setOver(false)
      if (!hasFiles(event)) return
      event.preventDefault()
      take([...event.dataTransfer!.files])
    }
    document.addEventListener("dragover", over)
    document.addEventListener("dragleave", leave)
    document.addEventListener("drop", drop)
    return () => {
      document.removeEventListener("dragover", over)
      document.removeEventListener("dragleave", leave)
      document.removeEventListener("drop", drop)
    }
  }, [take])
  return isOver
}
