/** Why a message was not sent, changed or deleted, as a sentence. */
import type { useMutation } from "./client.ts"

type Outcome = Awaited<
  ReturnType<ReturnType<typeof useMutation<"messages.send" | "messages.edit" | "messages.delete">>[0]>
>
type Failure = Extract<Outcome, { _tag: "Failure" }>["error"]

/** What went wrong, for errors that the contract does not declare. */
export const defect = "Something went wrong on the server."

export const reasonOf = (error: Failure): string => {
  switch (error._tag) {
    case "ChannelNotFound":
      return "This channel does not exist any more."
    case "AttachmentNotFound":
      return "One of its files does not exist any more."
    case "MessageNotFound":
      return "The message does not exist any more."
    case "MessageEmpty":
      return "A message without files needs a text."
    case "OutcomeUnknown":
      return "The server did not answer. It may have received it."
    case "OutcomePending":
      return "It will be sent when the server answers."
    case "ConnectionRefused":
      return "You cannot write here."
    case "CallError":
      return reasonOfCall(error.reason._tag)
  }
}

const reasonOfCall = (tag: Extract<Failure, { _tag: "CallError" }>["reason"]["_tag"]): string => {
  switch (tag) {
    case "LimitExceeded":
      return "The message is too long."
    case "Unauthenticated":
    case "Forbidden":
      return "You are not allowed to do this."
    case "TooManyRequests":
      return "Too many messages at once. Try again in a moment."
    case "Outdated":
    case "PayloadInvalid":
    case "UnknownRpc":
      return "This page is out of date. Reload it, then try again."
    default:
      return "The server cannot be reached."
  }
}
