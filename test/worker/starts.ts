/** How often each object was started, by its id. Counted outside of the objects: reading it wakes none of them. */
export const starts = new Map<string, number>()

/** How many events have reached each object, by its id: calls, sockets that are opened, and reads of `explain`. */
export const reached = new Map<string, number>()
