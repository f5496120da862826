/**
 * What the device reports about its network and its screen.
 * The connection uses it to go offline at once, and to retry at once instead of after its delay.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { browser } from "./Browser.ts"

/** The network and screen of a device. A runtime that reports nothing counts as online. */
export interface DeviceStatus {
  /** Whether the device has a network now. */
  readonly isOnline: () => boolean
  /**
   * Calls the listener with `offline` when the network is lost, and with `wake` when an immediate retry may succeed:
   * the network is back, or the page is visible again. Returns the function that removes the listener.
   */
  readonly listen: (listener: (event: "offline" | "wake") => void) => () => void
}

/**
 * The status of the device. Defaults to the browser's `online`, `offline` and `visibilitychange` events; where there is
 * no browser, to a device that is always online. Provide another one on other devices and in tests.
 */
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

/** Completes at the next event of this kind. */
export const deviceEvent = (device: DeviceStatus, expected: "offline" | "wake"): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const end = device.listen((event) => {
      if (event !== expected) return
      end()
      resume(Effect.void)
    })
    return Effect.sync(end)
  })
