import "./style.css"
import { StrictMode } from "react"
import { createRoot } from "react-dom/client"
import { App } from "./App.tsx"
import { client, Provider } from "./client.ts"

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Provider client={client}>
      <App />
    </Provider>
  </StrictMode>
)
