import * as Effect from "effect/Effect"
import { Api, App } from "effect-dormouse"
import { Cloudflare } from "effect-dormouse/cloudflare"
import { fetchTitle } from "./contract.ts"

class TitleApi extends Api.make(fetchTitle) {}
const handlers = TitleApi.toLayer({ "notes.fetchTitle": ({ url }) => Effect.succeed(url) })
const served = Cloudflare.serve(App.make({ api: TitleApi, tables: [], handlers }))

// The author's own class can extend both classes of a deployment.

export class TenantObject extends served.TenantObject {}

export default class extends served.worker {
  override async fetch(request: Request): Promise<Response> {
    if (new URL(request.url).pathname === "/hello") return new Response(String(this.env === undefined))
    return super.fetch(request)
  }
}

export class Synchronous extends served.worker {
  override fetch(request: Request) {
    return super.fetch(request)
  }
}

export class Wrong extends served.worker {
  // @ts-expect-error: is not assignable to the same property in base type
  override fetch(request: Request): string {
    return request.url
  }
}
