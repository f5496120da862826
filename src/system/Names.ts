/**
 * The names of tenants, the name by which clients reach the registry of tenants, and the identity of the deployment itself.
 * Apart from the contract of the registry, which an app without a registry does not have.
 */

import type { Identity } from "../contract/Auth.ts"

/** The tenant that clients name to reach the registry, and the name of its object. No tenant can have it. */
export const tenantsName = "~tenants"

/** The deployment itself, as the caller of its own objects. */
export const deployment: Identity = { subject: null, claims: { system: true } }

/** A tenant's name: what can stand in a header and a URL without being escaped. */
export const tenantNamePattern = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/

/** The name of a tenant's object: that of the tenant, or the one under which a registry has created it, with a number. */
export const objectNamePattern = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}(~\d{1,15})?$/
