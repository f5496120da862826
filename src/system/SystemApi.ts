/**
 * The contract of the deployment's own object, which keeps what belongs to no tenant: the keys that sign its tokens.
 * Only the Worker calls it, through `SystemCalls`.
 */
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import * as Api from "../contract/Api.ts"
import * as Mutation from "../contract/Mutation.ts"
import * as Query from "../contract/Query.ts"

/** The name of the deployment's own object. A tenant's name cannot begin with `~`. */
export const systemName = "~system"

/** A key that signs the tokens of this deployment. Times are milliseconds since the epoch. */
export class SigningKey extends Model.Class<SigningKey>("effect-dormouse/system/SigningKey")({
  id: Schema.NonEmptyString,
  /** The private key, as the text of a JSON Web Key. */
  jwk: Schema.String,
  createdAt: Schema.Number,
  /** From this time on the key signs nothing. `null` as long as that is not known. */
  retiresAt: Schema.NullOr(Schema.Number)
}) {}

const keysList = Schema.Array(SigningKey)

/** The contract of the deployment's own object. */
export class SystemApi extends Api.make(
  /** All keys, the oldest first. */
  Query.make("keys.list", { payload: {}, success: keysList }),
  /**
   * Adds a key, unless there is one with this id. `after` is the newest key that the caller knows, `null` for none: if it is
   * not the newest one any more, nothing is added, so that of several callers only one adds the next key. The result has all
   * keys, as in `keys.list`.
   */
  Mutation.make("keys.add", {
    payload: {
      id: Schema.NonEmptyString,
      jwk: Schema.String,
      retiresAt: Schema.NullOr(Schema.Number),
      after: Schema.optionalKey(Schema.NullOr(Schema.String))
    },
    success: keysList
  }),
  /** Removes a key. The result has the keys that are left. */
  Mutation.make("keys.remove", { payload: { id: Schema.String }, success: keysList })
) {}

/** The rpcs of the deployment's own object. */
export type SystemRpcs = Api.RpcsOf<typeof SystemApi>
