import * as Config from "effect/Config"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { S3Blobs } from "effect-dormouse/files/s3"
import { makeApp, options } from "../files.ts"

/** The app with files as a Worker of its own, whose bytes are in a bucket of S3 that its variables name. */
const blobs = S3Blobs.layer({
  endpoint: Config.String("S3_ENDPOINT"),
  bucket: Config.String("S3_BUCKET"),
  accessKeyId: Config.String("S3_ACCESS_KEY_ID"),
  secretAccessKey: Config.Redacted("S3_SECRET_ACCESS_KEY")
})
export const { TenantObject, worker } = Cloudflare.serve(makeApp(blobs), options)
export default worker
