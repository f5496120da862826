/**
 * What is made once in an isolate, with the first request that needs it.
 * When that fails, the next request tries again.
 */

/** Makes something once, and again if that failed. */
export const lazily = <A>(make: () => Promise<A>): (() => Promise<A>) => {
  let made: Promise<A> | undefined
  return () => {
    if (made !== undefined) return made
    const making = make()
    made = making
    making.catch(() => {
      if (made === making) made = undefined
    })
    return making
  }
}
