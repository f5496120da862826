import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { browser } from "./Browser.ts"

/** What the device says about itself. Where it says nothing, it counts as online and looked at. */
export interface DeviceStatus {
  /** Whether there is a network, now. */
  readonly isOnline: () => boolean
  /**
   * Calls when the network goes away, and when trying again at once may help: the network came back, or somebody looks
   * at the page again. Gives the function that ends it.
   */
  readonly listen: (listener: (signal: "offline" | "wake") => void) => () => void
}

/** The browser's own signals, where there is a browser. A test gives others. */
export const DeviceStatus = Context.Reference<DeviceStatus>("effect-dormouse/client/DeviceStatus", {
  defaultValue: () => ({
    isOnline: () => browser.navigator?.onLine !== false,
    listen: (listener) => {
      const offline = () => listener("offline")
      const wake = () => {
        if (browser.document?.visibilityState !== "hidden") listener("wake")
      }
      browser.addEventListener?.("offline", offline)
      browser.addEventListener?.("online", wake)
      browser.document?.addEventListener("visibilitychange", wake)
      return () => {
        browser.removeEventListener?.("offline", offline)
        browser.removeEventListener?.("online", wake)
        browser.document?.removeEventListener("visibilitychange", wake)
      }
    }
  })
})

/** Waits for a signal of the device. */
export const deviceEvent = (device: DeviceStatus, expected: "offline" | "wake"): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const end = device.listen((signal) => {
      if (signal === expected) resume(Effect.void)
    })
    return Effect.sync(end)
  })
