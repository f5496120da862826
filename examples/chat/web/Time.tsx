import type { ReactNode } from "react"
import { fullTimeOf } from "./times.ts"

interface Props {
  /** Milliseconds. */
  readonly at: number
  readonly className?: string
  readonly children: ReactNode
}

/** A time in words, which stay on one line. */
export const Time = ({ at, children, className }: Props) => (
  <time className={className} dateTime={new Date(at).toISOString()} title={fullTimeOf(at)}>
    {children}
  </time>
)
