/**
 * Which Node the tools of an app need: wrangler, and the SQLite of `TestApp`.
 * The command itself runs on older ones.
 */

/** The oldest version that the tools of an app run on. */
export const needed = "22.19"

/** Whether a version of Node is too old for the tools of an app. */
export const isTooOld = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  const [neededMajor = 0, neededMinor = 0] = needed.split(".").map(Number)
  return major < neededMajor || (major === neededMajor && minor < neededMinor)
}
