/**
 * The `Alarm` port of a Durable Object: its alarm, which outlives the heap.
 * A set that is made in the same turn as a write is committed with it.
 */
import type { Alarm } from "../../services/Alarm.ts"

/** The part of a Durable Object's storage that is used here. */
export interface AlarmStorage {
  readonly getAlarm: () => Promise<number | null>
  readonly setAlarm: (at: number) => Promise<void>
}

/** The alarm of a Durable Object. A failure to set it breaks the object, which then starts again and sets it. */
export const make = (storage: AlarmStorage, waitUntil: (work: Promise<unknown>) => void): Alarm["Service"] => {
  let sets = 0
  const set = (at: number) => {
    sets++
    return storage.setAlarm(at)
  }
  return {
    set: (at) => waitUntil(set(at)),
    confirm: (at) => {
      const confirm = async () => {
        const before = sets
        const isSet = (await storage.getAlarm()) === at
        // One that was set meanwhile is for an earlier row.
        if (!isSet && sets === before) await set(at)
      }
      waitUntil(confirm())
    }
  }
}
