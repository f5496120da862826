import type { Deployment } from "./Deployment.ts"

/** One event of a stream, as its client sees it. */
export interface Event {
  readonly id?: string
  readonly event?: string
  readonly data?: any
}

/** Reads the events of a topic. */
export const eventsOf = (deployment: Deployment, tenant: string, path: string, ...more: ReadArguments) =>
  readEvents(deployment, tenant, `/rpc/events/${path}`, ...more)

type ReadArguments = [headers?: Record<string, string>, isReadAtOnce?: boolean]

/** Reads a stream of events as a client does that has no `EventSource`. */
export const readEvents = async (
  deployment: Deployment,
  tenant: string,
  path: string,
  ...[headers = {}, isReadAtOnce = true]: ReadArguments
) => {
  const response = await deployment.fetch(path, {
    headers: { accept: "text/event-stream", "x-dormouse-tenant": tenant, ...headers }
  })
  const events: Array<Event> = []
  let isEnded = false
  const reader = response.status === 200 ? response.body!.getReader() : undefined
  const read = async () => {
    const decoder = new TextDecoder()
    let text = ""
    for (;;) {
      const { done, value } = await reader!.read()
      if (done) break
      text += decoder.decode(value, { stream: true })
      const parts = text.split("\n\n")
      text = parts.pop()!
      for (const part of parts) {
        const fields = Object.fromEntries(part.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2)))
        if ("data" in fields) events.push({ ...fields, data: JSON.parse(fields["data"]) })
      }
    }
  }
  const start = () =>
    void (reader === undefined ? Promise.resolve() : read().catch(() => {})).then(() => {
      isEnded = true
    })
  if (isReadAtOnce) start()
  return { response, events, read: start, isEnded: () => isEnded, close: () => reader?.cancel() }
}
