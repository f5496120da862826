/** An app with files in a bucket of R2, and a route that puts a body there as it comes. */
import * as Effect from "effect/Effect"
import { Api, App, Mutation } from "effect-dormouse"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { Blobs, Bucket, Files } from "effect-dormouse/files"

const Large = Bucket.make("large", { maxBytes: 1_000_000_000 })

class LargeApi extends Api.make(
  Mutation.make("begin", { payload: { new: Bucket.NewFile }, success: Bucket.Upload, error: Bucket.FileRefused })
) {}

const app = App.make({
  api: LargeApi,
  tables: [],
  handlers: LargeApi.toLayer({ begin: ({ new: file }) => Effect.map(Large.begin(file), (upload) => upload) }),
  files: Files.make({ buckets: [Large] }),
  actionServices: Blobs.layerR2("FILES")
})

const served = Cloudflare.serve(app)
export const { TenantObject } = served

export default class extends served.worker {
  override async fetch(request: Request): Promise<Response> {
    if (new URL(request.url).pathname !== "/bare") return super.fetch(request)
    const { FILES } = this.env as unknown as { readonly FILES: R2Bucket }
    await FILES.put("bare", request.body)
    return new Response("stored")
  }
}
