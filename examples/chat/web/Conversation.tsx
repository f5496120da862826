import { type Ref, useEffect, useImperativeHandle, useRef, useState } from "react"
import type { Caller } from "../api.ts"
import type { Channel, Message, MessageId } from "../schema.ts"
import { Announcements } from "./Announcements.tsx"
import { useAttachments } from "./Attachments.tsx"
import { Composer } from "./Composer.tsx"
import { ConnectionNotice, ConnectionWords } from "./ConnectionWords.tsx"
import type { Changing } from "./changing.ts"
import { usePages } from "./client.ts"
import { DeleteMessage } from "./DeleteMessage.tsx"
import { useDrop } from "./dropping.ts"
import { FailedChangeRow, FailedRow } from "./FailedRow.tsx"
import { HereNow, useHere } from "./HereNow.tsx"
import { Icon } from "./Icon.tsx"
import { ImportFile } from "./ImportFile.tsx"
import { Imports } from "./Imports.tsx"
import { Members } from "./Members.tsx"
import { PendingAll } from "./Pending.tsx"
import { useWaitsFor, wordsOf } from "./patience.ts"
import { canEdit, Row } from "./Row.tsx"
import { useMarking, useReaders } from "./reading.ts"
import { Sign } from "./Sign.tsx"
import { useScroll } from "./scrolling.ts"
import type { Sending } from "./sending.ts"
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
  readonly changing: Changing
}

/** The message whose text is a field, and whether that was asked for in the field for new messages. */
interface Editing {
  readonly id: MessageId
  readonly isFromField: boolean
}

/** One channel: its messages, newest at the bottom, and the field for a new one. */
export const Conversation = ({ changing, channel, me, ref, sending }: Props) => {
  const { error, hasMore, isLoading, items, loadMore } = usePages("messages.page", { channel: channel.id, size: 40 })
  const loading = wordsOf(useWaitsFor(isLoading), "Loading…")
  const field = useRef<HTMLTextAreaElement>(null)
  useImperativeHandle(ref, () => ({ write: () => field.current?.focus() }))
  const failed = sending.failed.filter((message) => message.channel === channel.id)
  const failedChanges = changing.failed.filter(({ message }) => message.channel === channel.id)
  const [editing, edit] = useState<Editing>()
  const [deleting, askToDelete] = useState<Message>()
  const messages = items.toReversed()
  const { readers, unread } = useReaders(channel.id, messages, me.id)
  const [isTyping, typed] = useTyping()
  const here = useHere(channel.id, isTyping)
  const uploads = useUploads(channel.id)
  const isDropping = useDrop(uploads.add)
  const attachments = useAttachments(channel.id, hasMore ? (messages[0]?.sentAt ?? null) : null)
  // Each of them is a line, which makes the log longer.
  const lines = failed.length + failedChanges.length + readers.size + attachments.size
  const { isAtEnd, log, onScroll, toEnd, unseen } = useScroll(messages, lines)
  useMarking(isAtEnd ? unread : undefined)
  const loadOlder = () => {
    log.current?.focus({ preventScroll: true })
    loadMore()
  }

  const write = () => field.current?.focus()
  const editLast = () => {
    const last = messages.findLast((message) => canEdit(message, me.id))
    if (last !== undefined) edit({ id: last.id, isFromField: true })
    return last !== undefined
  }
  const endEdit = () => {
    edit(undefined)
    if (editing?.isFromField) write()
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
        <h1 title={channel.name}>
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
              {loading || "Show older messages"}
            </button>
          ) : (
            !isLoading && <Beginning channel={channel} isEmpty={messages.length === 0} />
          )}
          {error !== undefined && <p className="problem">The messages cannot be shown. Reload the page.</p>}
          <ol>
            {messages.map((message, i) => (
              <Row
                key={message.id}
                message={message}
                before={messages[i - 1]}
                isMine={message.author === me.id}
                readers={readers.get(message.id) ?? []}
                files={attachments.get(message.id) ?? []}
                isChanging={changing.pending.includes(message.id)}
                isEditing={message.id === editing?.id}
                onEdit={({ id }) => edit({ id, isFromField: false })}
                onCancel={endEdit}
                onSave={(message, body) => {
                  changing.change({ message, body })
                  endEdit()
                }}
                onDelete={askToDelete}
              />
            ))}
          </ol>
          {failedChanges.map((failed) => (
            <FailedChangeRow key={failed.id} failed={failed} name={me.name} changing={changing} />
          ))}
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
        <div className="now">
          <Typing people={here} me={me} />
          <PendingAll messages={sending.pending} changes={changing.pending.length} />
        </div>
        <Composer
          field={field}
          channel={channel.name}
          author={me.name}
          uploads={uploads}
          onType={typed}
          onEditLast={editLast}
          onSend={(words) => {
            sending.send({ channel: channel.id, ...words })
            toEnd()
          }}
          onLater={(words, at) => sending.later({ channel: channel.id, ...words }, at)}
        />
      </div>
      {isDropping && <p className="drop">Drop files to send them to #{channel.name}</p>}
      <DeleteMessage
        message={deleting}
        onClose={() => {
          askToDelete(undefined)
          // The button that had the focus is gone with the message.
          if (document.activeElement === document.body) log.current?.focus({ preventScroll: true })
        }}
        onDelete={(message) => {
          changing.change({ message })
          askToDelete(undefined)
        }}
      />
      <Announcements messages={isLoading && messages.length === 0 ? undefined : messages} me={me.id} />
    </>
  )
}

const Beginning = ({ channel, isEmpty }: { readonly channel: Channel; readonly isEmpty: boolean }) => (
  <div className="beginning">
    <h2>#{channel.name}</h2>
    <p>{isEmpty ? "No messages yet. Write the first one below." : `This is where #${channel.name} begins.`}</p>
  </div>
)
