/** URLs of `http` and `https` in a text. Other schemes, such as `javascript:`, must not become links. */
export const link = /(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]'])/

/** The first URL in a text. */
export const firstLink = (text: string): string | undefined => link.exec(text)?.[0]
