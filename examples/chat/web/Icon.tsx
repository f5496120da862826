const paths = {
  back: "M15 5l-7 7 7 7",
  bin: "M5 7h14M10 7V4.5h4V7M7 7l.8 12.5h8.4L17 7M10.5 10.5v5.5m3-5.5v5.5",
  clip: "M19 11.5l-7 7a4.5 4.5 0 0 1-6.5-6.5l7.5-7.5a3 3 0 0 1 4.5 4.5l-7.5 7.5a1.5 1.5 0 0 1-2-2l6.5-6.5",
  clock: "M12 7v5l3 2M20 12a8 8 0 1 1-16 0 8 8 0 0 1 16 0Z",
  dark: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5Z",
  file: "M12 4v11m0 0l-4-4m4 4l4-4M5 15v4.5h14V15",
  down: "M12 5v14m0 0l-6-6m6 6l6-6",
  keyboard: "M3 7h18v10H3zM7 10.5h.01M11 10.5h.01M15 10.5h.01M8 14h8",
  light:
    "M12 3v2m0 14v2M4.5 4.5l1.5 1.5m12 12l1.5 1.5M3 12h2m14 0h2M4.5 19.5l1.5-1.5m12-12l1.5-1.5M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0Z",
  edit: "M5 19h3.5L19 8.5 15.5 5 5 15.5V19ZM13 7.5l3.5 3.5",
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  more: "M5.5 12h.01M12 12h.01M18.5 12h.01",
  page: "M6.5 4h7l4 4v12h-11zM13.5 4v4h4",
  people: "M4 19a5 5 0 0 1 10 0M12 9a3 3 0 1 1-6 0 3 3 0 0 1 6 0ZM15 6.2a3 3 0 0 1 0 5.6M17 14.5a5 5 0 0 1 3 4.5",
  plus: "M12 5v14M5 12h14",
  send: "M4.5 12h14m0 0l-6-6m6 6l-6 6",
  settings:
    "M4 7h9m5 0h2M4 17h2m5 0h9M13 7a2.5 2.5 0 1 0 5 0 2.5 2.5 0 1 0-5 0ZM6 17a2.5 2.5 0 1 0 5 0 2.5 2.5 0 1 0-5 0Z",
  system: "M4 5h16v11H4zM9 20h6m-3-4v4"
} as const

export const Icon = ({ name }: { readonly name: keyof typeof paths }) => (
  <svg className="icon" viewBox="0 0 24 24" aria-hidden="true">
    <path d={paths[name]} />
  </svg>
)
