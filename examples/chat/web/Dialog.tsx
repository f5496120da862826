import { type ReactNode, useEffect, useId, useRef } from "react"

interface Props {
  readonly title: string
  readonly isOpen: boolean
  readonly onClose: () => void
  readonly children: ReactNode
}

/** A dialog over the page. Escape closes it, and the element that had the focus gets it back. */
export const Dialog = ({ children, isOpen, onClose, title }: Props) => {
  const dialog = useRef<HTMLDialogElement>(null)
  const heading = useId()
  useEffect(() => {
    if (isOpen) dialog.current?.showModal()
    else dialog.current?.close()
  }, [isOpen])
  return (
    <dialog ref={dialog} className="dialog" aria-labelledby={heading} onClose={onClose}>
      <h2 id={heading}>{title}</h2>
      {isOpen && children}
      <form method="dialog">
        <button type="submit" className="plain close">
          Close
        </button>
      </form>
    </dialog>
  )
}
