/** The tenant that is open to everybody, and where accounts are. */
export const home = "main"

/** The tenants that there are, and what the page calls them. Each has a database of its own. */
export const tenants: Readonly<Record<string, string>> = { [home]: "Everybody", acme: "Acme" }
