/** The name of who has not chosen one: always the same for the same account. */
export const guestName = (id: string): string => `Guest ${id.slice(-4)}`
