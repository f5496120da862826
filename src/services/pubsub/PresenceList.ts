/**
 * Who is here, in one object: a list for each key, made of the streams that are open.
 * It is in the heap only. After hibernation the streams come back from their sockets, and with them the list.
 */
import type * as Schema from "effect/Schema"
import type { Reader, ReaderHost } from "../../contract/Pubsub.ts"

/** What a stream says of its connection. */
interface Said {
  readonly host: ReaderHost
  readonly state: Schema.Json
}

/** The connections at one key, by id, each with its open streams: the newest says the state. */
type Connections = Map<string, Array<Said>>

/** The presence of one object. */
export class PresenceList {
  private readonly keys = new Map<string, Connections>()
  private readonly onChange: (key: string) => void

  constructor(onChange: (key: string) => void) {
    this.onChange = onChange
  }

  /** Whether nobody is here. */
  get isEmpty(): boolean {
    return this.keys.size === 0
  }

  /** Who is at a key, as JSON. */
  at(key: string): ReadonlyArray<Schema.Json> {
    const connections: Iterable<[string, Array<Said>]> = this.keys.get(key) ?? []
    return Array.from(connections, ([id, streams]) => {
      const { host, state } = streams.at(-1)!
      return { id, subject: host.identity().subject, state }
    })
  }

  /** The hosts of all that are here. */
  *hosts(): Iterable<ReaderHost> {
    for (const connections of this.keys.values()) {
      for (const streams of connections.values()) for (const { host } of streams) yield host
    }
  }

  /** A stream whose caller is at a key while it is open. */
  reader(host: ReaderHost, key: string, state: Schema.Json): Reader {
    const said: Said = { host, state }
    const granted = () => this.join(key, said)
    return {
      granted,
      restored: granted,
      acknowledged: () => {},
      callerChanged: () => this.onChange(key),
      close: () => this.leave(key, said)
    }
  }

  private join(key: string, said: Said): void {
    const connections: Connections = this.keys.get(key) ?? new Map()
    this.keys.set(key, connections)
    const streams = connections.get(said.host.id)
    if (streams === undefined) connections.set(said.host.id, [said])
    else if (streams.includes(said)) return
    else streams.push(said)
    this.onChange(key)
  }

  private leave(key: string, said: Said): void {
    const connections = this.keys.get(key)
    const streams = connections?.get(said.host.id)
    const index = streams?.indexOf(said) ?? -1
    if (connections === undefined || streams === undefined || index === -1) return
    streams.splice(index, 1)
    if (streams.length === 0) connections.delete(said.host.id)
    if (connections.size === 0) this.keys.delete(key)
    this.onChange(key)
  }
}
