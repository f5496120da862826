import "./style.css"
import { StrictMode, useMemo } from "react"
import { createRoot } from "react-dom/client"
import { App } from "./App.tsx"
import { clientOf, Provider } from "./client.ts"
import { tenant } from "./location.ts"
import { useSessionKey } from "./session.ts"

/** The app of who is signed in. After a sign-in or a sign-out it begins anew, with another client. */
const Root = () => {
  const key = useSessionKey()
  // biome-ignore lint/correctness/useExhaustiveDependencies: another session needs another client
  const client = useMemo(() => clientOf(tenant), [key])
  return (
    <Provider key={key} client={client}>
      <App />
    </Provider>
  )
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Root />
  </StrictMode>
)
