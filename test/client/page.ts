import { Window } from "happy-dom"

/** A page for React to render into. Import it before `react-dom`, which reads the global `document` when it loads. */
const window = new Window({ url: "http://localhost/" })
Object.assign(globalThis, { window, document: window.document })

export const { document } = window
