import { type Ref, useEffect, useImperativeHandle, useLayoutEffect, useRef, useState } from "react"
import type { Caller } from "../api.ts"
import type { Channel, Message } from "../schema.ts"
import { countOf, useAttachments } from "./Attachments.tsx"
import { Composer } from "./Composer.tsx"
import { ConnectionNotice, ConnectionWords } from "./ConnectionWords.tsx"
import { usePages } from "./client.ts"
import { useDrop } from "./dropping.ts"
import { HereNow, useHere } from "./HereNow.tsx"
import { Icon } from "./Icon.tsx"
import { ImportFile } from "./ImportFile.tsx"
import { Imports } from "./Imports.tsx"
import { Members } from "./Members.tsx"
import { FailedRow, Row } from "./Row.tsx"
import { useMarking, useReaders } from "./reading.ts"
import { Sign } from "./Sign.tsx"
import { isLocal, type Sending } from "./sending.ts"
import { Typing, useTyping } from "./Typing.tsx"
import { useUploads } from "./uploading.ts"
import { Waiting } from "./Waiting.tsx"

/** What other components can do with the conversation. */
export interface ConversationHandle {
  /** Focuses the field in which a message is written. */
  readonly write: () => void
}

interface Props {
  readonly ref: Ref<ConversationHandle>
  readonly channel: Channel
  readonly me: Caller
  readonly sending: Sending
}

/** One channel: its messages, newest at the bottom, and the field for a new one. */
export const Conversation = ({ channel, me, ref, sending }: Props) => {
  const { error, hasMore, isLoading, items, loadMore } = usePages("messages.page", { channel: channel.id, size: 40 })
  const field = useRef<HTMLTextAreaElement>(null)
  useImperativeHandle(ref, () => ({ write: () => field.current?.focus() }))
  const failed = sending.failed.filter((message) => message.channel === channel.id)
  const messages = items.toReversed()
  const { readers, unread } = useReaders(channel.id, messages, me.id)
  const [isTyping, typed] = useTyping()
  const here = useHere(channel.id, isTyping)
  const uploads = useUploads(channel.id)
  const isDropping = useDrop(uploads.add)
  const attachments = useAttachments(channel.id, hasMore ? (messages[0]?.sentAt ?? null) : null)
  // Each of them is a line, which makes the log longer.
  const { isAtEnd, log, onScroll, toEnd, unseen } = useScroll(messages, failed.length + readers.size + attachments.size)
  useMarking(isAtEnd ? unread : undefined)
  const loadOlder = () => {
    log.current?.focus({ preventScroll: true })
    loadMore()
  }

  useEffect(() => {
    // On a phone, focusing the field would open the keyboard over the messages.
    if (matchMedia("(hover: hover)").matches) field.current?.focus()
  }, [])

  return (
    <>
      <header className="top">
        <a className="quiet back" href="#/" aria-label="All channels">
          <Icon name="back" />
        </a>
        <h1>
          <Sign access={channel.access} />
          {channel.name}
        </h1>
        <HereNow people={here} />
        <ImportFile channel={channel} />
        {channel.access === "private" && <Members channel={channel} me={me} />}
        <ConnectionWords />
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard */}
      <section className="log" ref={log} tabIndex={0} aria-label={`Messages in #${channel.name}`} onScroll={onScroll}>
        <div className="messages">
          {hasMore ? (
            <button type="button" className="older" onClick={loadOlder} disabled={isLoading}>
              {isLoading ? "Loading…" : "Show older messages"}
            </button>
          ) : (
            !isLoading && <Beginning channel={channel} isEmpty={messages.length === 0} />
          )}
          {error !== undefined && <p className="problem">The messages cannot be shown: {error.message}</p>}
          <ol>
            {messages.map((message, i) => (
              <Row
                key={message.id}
                message={message}
                before={messages[i - 1]}
                isMine={message.author === me.id}
                readers={readers.get(message.id) ?? []}
                files={attachments.get(message.id) ?? []}
              />
            ))}
          </ol>
          {failed.map((message) => (
            <FailedRow key={message.id} message={message} name={me.name} sending={sending} />
          ))}
        </div>
      </section>
      <div className="foot">
        {!isAtEnd && (
          <button type="button" className="to-end" onClick={toEnd}>
            <Icon name="down" />
            {unseen === 0 ? "Newest" : `${unseen} new`}
          </button>
        )}
        <ConnectionNotice />
        <Imports channel={channel.id} />
        <Waiting channel={channel.id} />
        <Typing people={here} me={me} />
        <Composer
          field={field}
          channel={channel.name}
          author={me.name}
          uploads={uploads}
          onType={typed}
          onSend={(words) => {
            sending.send({ channel: channel.id, ...words })
            toEnd()
          }}
          onLater={(words, at) => sending.later({ channel: channel.id, ...words }, at)}
        />
      </div>
      {isDropping && <p className="drop">Drop files to send them to #{channel.name}</p>}
      <Announcements messages={messages} me={me} />
    </>
  )
}

const Beginning = ({ channel, isEmpty }: { readonly channel: Channel; readonly isEmpty: boolean }) => (
  <div className="beginning">
    <h2>#{channel.name}</h2>
    <p>
      {isEmpty
        ? "Nothing has been said here. Say hello, and watch it arrive in every window that is open."
        : `This is where #${channel.name} begins.`}
    </p>
  </div>
)

/** Announces new messages of others to screen readers. Older messages, loaded first or later, are not announced. */
const Announcements = ({ me, messages }: { readonly messages: ReadonlyArray<Message>; readonly me: Caller }) => {
  const newest = messages.findLast((message) => !isLocal(message) && message.from === undefined)
  const announced = useRef(newest?.id)
  const [text, setText] = useState("")
  useEffect(() => {
    if (newest === undefined || newest.id === announced.current) return
    const isFirst = announced.current === undefined
    announced.current = newest.id
    if (!isFirst && newest.author !== me.id) setText(`${newest.name}: ${newest.body || countOf(newest.files ?? 0)}`)
  }, [newest, me.id])
  return (
    <div className="hidden" role="log" aria-live="polite" aria-label="New messages">
      {text}
    </div>
  )
}

/**
 * The scroll position of the log. At the end, it stays at the end when messages arrive. Further up, the messages in
 * view stay where they are, whether messages are added above or below.
 */
const useScroll = (messages: ReadonlyArray<Message>, lines: number) => {
  const log = useRef<HTMLElement>(null)
  const place = useRef({ height: 0, first: "", isAtEnd: true })
  const [isAtEnd, setAtEnd] = useState(true)
  const [seen, setSeen] = useState("")
  const first = messages[0]?.id ?? ""
  const last = messages.at(-1)?.id ?? ""

  const toEnd = () => {
    place.current.isAtEnd = true
    log.current!.scrollTop = log.current!.scrollHeight
  }
  const onScroll = () => {
    const { clientHeight, scrollHeight, scrollTop } = log.current!
    place.current.isAtEnd = scrollHeight - scrollTop - clientHeight < 48
    setAtEnd(place.current.isAtEnd)
    if (place.current.isAtEnd) setSeen(last)
  }
  // biome-ignore lint/correctness/useExhaustiveDependencies: the effect runs when the height may have changed
  useLayoutEffect(() => {
    const element = log.current!
    const before = place.current
    if (before.isAtEnd) element.scrollTop = element.scrollHeight
    else if (before.first !== first) element.scrollTop += element.scrollHeight - before.height
    place.current = { height: element.scrollHeight, first, isAtEnd: before.isAtEnd }
    if (before.isAtEnd) setSeen(last)
  }, [first, last, messages.length, lines])
  useEffect(() => {
    // The keyboard of a phone, or another line in the field, makes the log smaller.
    const observer = new ResizeObserver(() => {
      if (place.current.isAtEnd) log.current!.scrollTop = log.current!.scrollHeight
    })
    observer.observe(log.current!)
    return () => observer.disconnect()
  }, [])

  const unseen = seen === "" ? 0 : Math.max(0, messages.length - 1 - messages.findIndex(({ id }) => id === seen))
  return { log, isAtEnd, unseen: isAtEnd || unseen >= messages.length ? 0 : unseen, toEnd, onScroll }
}
