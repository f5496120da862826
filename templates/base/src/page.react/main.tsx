import { StrictMode } from "react"
import { createRoot } from "react-dom/client"
import { App } from "./App.tsx"
import { Provider } from "./client.ts"

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Provider url={location.origin}>
      <App />
    </Provider>
  </StrictMode>
)
