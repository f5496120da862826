import { type ReactNode, useEffect, useId, useRef } from "react"

interface Props {
  readonly title: string
  readonly isOpen: boolean
  readonly onClose: () => void
  /** What the button says that closes it. */
  readonly closing?: string
  /** Whether that button has the focus first: for what cannot be undone. */
  readonly isFinal?: boolean
  readonly children: ReactNode
}

/** A dialog over the page. Escape closes it, and the element that had the focus gets it back. */
export const Dialog = ({ children, closing = "Close", isFinal = false, isOpen, onClose, title }: Props) => {
  const dialog = useRef<HTMLDialogElement>(null)
  const close = useRef<HTMLButtonElement>(null)
  const heading = useId()
  useEffect(() => {
    if (!isOpen) return dialog.current?.close()
    dialog.current?.showModal()
    if (isFinal) close.current?.focus()
  }, [isOpen, isFinal])
  return (
    <dialog ref={dialog} className="dialog" aria-labelledby={heading} onClose={onClose}>
      <h2 id={heading}>{title}</h2>
      {isOpen && children}
      <form method="dialog">
        <button ref={close} type="submit" className="plain close">
          {closing}
        </button>
      </form>
    </dialog>
  )
}
