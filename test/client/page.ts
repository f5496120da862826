import { Window } from "happy-dom"

/** A page for React to render into. Import it before `react-dom`, which looks for one when it is loaded. */
const window = new Window({ url: "http://localhost/" })
Object.assign(globalThis, { window, document: window.document })

export const { document } = window
