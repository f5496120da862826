import { Cloudflare } from "effect-dormouse/cloudflare"
import { TransactionOutbox } from "../../../src/services/outbox/TransactionOutbox.ts"
import { quietApp } from "../killed.ts"

/** The app of the tests that kill it, which forgets to say that a call begins. */
TransactionOutbox.prototype.claim = () => {}

export const { TenantObject, worker } = Cloudflare.serve(quietApp)
export default worker
