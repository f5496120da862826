/** How often each object was started, by its id. Counted outside of the objects: reading it wakes none of them. */
export const starts = new Map<string, number>()
