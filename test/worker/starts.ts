/** How many times each object was built, by its id. Counted here, so that asking does not wake the object. */
export const starts = new Map<string, number>()
