/// <reference types="node" />
import { openChatClient } from "../chatClient.ts"
import { Server } from "../harness.ts"
import { inFlight } from "../measure.ts"
import { createChannels, sendMessages } from "../room.ts"
import { dormouse, grouped, handwritten } from "../subjects.ts"
import { perSecond, type Sample, type Workload } from "../workload.ts"

const count = 1000

/** The mutations of `unary`, as an app of Dormouse makes them: through its client, each with a number. */
export const numbered: Workload = {
  name: "numbered",
  subjects: [handwritten, grouped, dormouse],
  rounds: 15,
  measures: [
    { key: "mutations", label: "Numbered mutations through our client, 32 in flight", unit: "/s", target: "≥ 1.3×" }
  ],
  open: async (subject) => {
    const server = await Server.startAny(subject)
    const socket = await server.open()
    const [channel] = await createChannels(socket, 1)
    const sample =
      subject === dormouse
        ? await sampleOfClient(server, channel!)
        : async (): Promise<Sample> => ({ mutations: perSecond(count, await sendMessages(socket, channel!, count)) })
    // The client is compiled in the first few thousand calls.
    for (let warmUp = 0; warmUp < 4; warmUp++) await sample()
    return sample
  }
}

async function sampleOfClient(server: Server, channel: string): Promise<() => Promise<Sample>> {
  const client = await openChatClient(server)
  return async () => {
    const before = client.numbered()
    const elapsed = await inFlight(32, count, () => client.send(channel))
    const sent = client.numbered() - before
    if (sent !== count) throw new Error(`${sent} of ${count} mutations had a number`)
    return { mutations: perSecond(count, elapsed) }
  }
}
