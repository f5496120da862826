/**
 * The XML of S3: what is read of its answers, and what completes an upload.
 * A layer reads texts of elements, no more.
 */
import * as Effect from "effect/Effect"
import * as Xml from "effect/encoding/Xml"
import * as Stream from "effect/Stream"
import { BlobError, type StoredPart } from "../../services/Blobs.ts"

/** The texts of the elements at a path. An answer without a body has none. */
export const textsAt = (
  operation: string,
  text: string,
  path: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<string>, BlobError> =>
  text === ""
    ? Effect.succeed([])
    : Stream.make(text).pipe(
        Stream.pipeThroughChannel(Xml.decodeString()),
        Stream.pipeThroughChannel(Xml.elements(path)),
        Stream.map(({ children }) => children.join("")),
        Stream.runCollect,
        Effect.mapError((cause) => new BlobError({ operation, cause }))
      )

/** The body of the request that makes parts one blob. */
export const completion = (parts: ReadonlyArray<StoredPart>): Effect.Effect<string, BlobError> =>
  Stream.fromIterable(
    element(
      "CompleteMultipartUpload",
      parts.flatMap(({ etag, part }) =>
        element("Part", [...element("PartNumber", [text(String(part))]), ...element("ETag", [text(etag)])])
      )
    )
  ).pipe(
    Stream.pipeThroughChannel(Xml.encodeString()),
    Stream.mkString,
    Effect.mapError((cause) => new BlobError({ operation: "complete", cause }))
  )

const text = (text: string): Xml.Event => ({ _tag: "Text", text })

const element = (name: string, children: ReadonlyArray<Xml.Event>): ReadonlyArray<Xml.Event> => [
  { _tag: "StartElement", name, attributes: {} },
  ...children,
  { _tag: "EndElement", name }
]
