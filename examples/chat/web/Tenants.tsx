import { tenants } from "../tenants.ts"
import { addressOfTenant, tenant } from "./location.ts"

/** The switch between tenants. Each has a database of its own. */
export const Tenants = () => (
  <nav className="tenants" aria-label="Teams">
    {Object.entries(tenants).map(([name, label]) => (
      <a key={name} href={addressOfTenant(name)} aria-current={name === tenant ? "true" : undefined}>
        {label}
      </a>
    ))}
  </nav>
)
