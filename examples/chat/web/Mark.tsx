/** The dormouse, asleep. */
export const Mark = () => (
  <svg className="mark" viewBox="0 0 64 64" aria-hidden="true">
    <path className="mark-tail" d="M13 40c-6 10 4 19 19 19 14 0 24-8 24-20" />
    <path className="mark-body" d="M32 12c-13 0-22 9-22 21s9 20 22 20 22-8 22-20-9-21-22-21Z" />
    <circle className="mark-ear" cx="16" cy="18" r="7.5" />
    <circle className="mark-ear" cx="48" cy="18" r="7.5" />
    <path className="mark-face" d="M19 33c2 2.6 6 2.6 8 0M37 33c2 2.6 6 2.6 8 0" />
    <path className="mark-nose" d="M29.5 39.5h5L32 42.5Z" />
  </svg>
)
