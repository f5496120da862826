import type { Auth } from "effect-dormouse/auth"

/** The tenant that is open to everybody, and where accounts are. */
export const home = "main"

/** The tenants that there are, and what the page calls them. Each has a database of its own. */
export const tenants: Readonly<Record<string, string>> = { [home]: "Everybody", acme: "Acme" }

/** Everybody may enter `main`. The others are for those whose token says so. */
export const mayEnter = ({
  identity,
  tenant
}: {
  readonly identity: Auth.Identity
  readonly tenant: string
}): boolean => tenant === home || [identity.claims["tenants"]].flat().includes(tenant)
