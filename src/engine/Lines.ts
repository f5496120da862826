/** The lines of a body as they come. */
export async function* readLines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = ""
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader()
  try {
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
      const lines = (rest + chunk.value).split("\n")
      rest = lines.pop()!
      yield* lines.filter((line) => line !== "")
    }
    if (rest !== "") yield rest
  } finally {
    await reader.cancel()
  }
}
