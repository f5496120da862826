import { hydrateRoot } from "react-dom/client"
import { App } from "./App.tsx"

declare global {
  /** Everything that the page has shown, and what React reports as recoverable. */
  var seen: { readonly texts: Array<string>; readonly complaints: Array<string> }
}
interface Node {
  readonly textContent: string
}
declare const document: { readonly getElementById: (id: string) => Node }
declare const MutationObserver: new (changed: () => void) => { observe: (node: Node, options: object) => void }

const root = document.getElementById("root")
globalThis.seen = { texts: [root.textContent], complaints: [] }
new MutationObserver(() => globalThis.seen.texts.push(root.textContent)).observe(root, {
  subtree: true,
  childList: true,
  characterData: true
})
hydrateRoot(root as never, <App {...JSON.parse(document.getElementById("props").textContent)} />, {
  onRecoverableError: (error) => globalThis.seen.complaints.push(String(error))
})
