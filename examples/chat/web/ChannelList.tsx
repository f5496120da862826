import { type FocusEvent, type KeyboardEvent, type Ref, useEffect, useLayoutEffect, useRef, useState } from "react"
import type { Channel } from "../schema.ts"
import { filterByName } from "./channelOrder.ts"
import { addressOf, placeOf, visit } from "./location.ts"
import type { Ordering } from "./ordering.ts"
import { Sign } from "./Sign.tsx"

/** From this number on there is a field that filters the channels. */
const many = 8

interface Props {
  readonly current: Channel | undefined
  readonly ordering: Ordering
  readonly filter: Ref<HTMLInputElement>
}

/** The channels that the user can see: those with new messages first, and a field that finds one by its name. */
export const ChannelList = ({ current, filter, ordering }: Props) => {
  const [text, setText] = useState("")
  const list = useRef<HTMLDivElement>(null)
  const [isOver, setOver] = useState(false)
  const [hasFocus, setFocus] = useState(false)
  const { hold } = ordering
  useEffect(() => hold(isOver || hasFocus), [hold, isOver, hasFocus])
  const unread = filterByName(ordering.unread, text)
  const others = filterByName(ordering.others, text)
  const count = ordering.unread.length + ordering.others.length
  const shown = [...unread, ...others]
  const order = shown.map(({ id }) => id).join()

  // biome-ignore lint/correctness/useExhaustiveDependencies: the effect runs when the channel or its place has changed
  useLayoutEffect(() => {
    list.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" })
  }, [current?.id, order])

  /** Moves the focus from one channel to the next one. */
  const step = (event: KeyboardEvent<HTMLElement>) => {
    const by = event.altKey ? 0 : event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0
    if (by === 0) return
    const links = Array.from(list.current!.querySelectorAll("a"))
    const at = links.findIndex((link) => link.contains(document.activeElement))
    const next = links[at + by]
    if (next === undefined) return
    event.preventDefault()
    next.focus()
  }
  const onFilterKey = (event: KeyboardEvent<HTMLInputElement>) => {
    const [first] = shown
    if (event.key === "Escape") {
      setText("")
      event.currentTarget.blur()
    } else if (event.key === "Enter" && text !== "" && first !== undefined) {
      setText("")
      visit(placeOf(first))
    } else if (event.key === "ArrowDown") step(event)
  }
  const leave = (event: FocusEvent<HTMLElement>) => {
    if (!event.currentTarget.contains(event.relatedTarget)) setFocus(false)
  }
  const part = (channels: ReadonlyArray<Channel>) => (
    <ul>
      {channels.map((channel) => (
        <Item
          key={channel.id}
          channel={channel}
          isCurrent={channel.id === current?.id}
          isUnread={ordering.isUnread(channel.id)}
        />
      ))}
    </ul>
  )
  return (
    <>
      {count >= many && (
        <div className="field filter">
          <label htmlFor="filter">Find a channel</label>
          <input
            ref={filter}
            id="filter"
            type="search"
            value={text}
            autoComplete="off"
            autoCapitalize="none"
            onChange={(event) => setText(event.target.value)}
            onKeyDown={onFilterKey}
          />
        </div>
      )}
      {/* biome-ignore lint/a11y/noStaticElementInteractions: the keys are those of the links in it */}
      <div
        ref={list}
        className="list"
        onPointerEnter={({ pointerType }) => setOver(pointerType === "mouse")}
        onPointerLeave={() => setOver(false)}
        onFocus={() => setFocus(true)}
        onBlur={leave}
        onKeyDown={step}
      >
        {unread.length > 0 && (
          <>
            <h2>New messages</h2>
            {part(unread)}
          </>
        )}
        <h2>Channels</h2>
        {others.length > 0 && part(others)}
        {count === 0 && <p className="note">None yet.</p>}
        {count > 0 && shown.length === 0 && <p className="note">No channel has “{text.trim()}” in its name.</p>}
      </div>
      <p className="hidden" role="status">
        {text !== "" && `${shown.length} ${shown.length === 1 ? "channel" : "channels"} found`}
      </p>
    </>
  )
}

interface ItemProps {
  readonly channel: Channel
  readonly isCurrent: boolean
  readonly isUnread: boolean
}

const Item = ({ channel, isCurrent, isUnread }: ItemProps) => {
  const { access, name } = channel
  return (
    <li>
      <a
        href={addressOf(placeOf(channel))}
        title={name}
        aria-current={isCurrent ? "page" : undefined}
        data-unread={isUnread || undefined}
        aria-label={isUnread ? `${name}, new messages` : undefined}
      >
        <Sign access={access} />
        <span className="excerpt">{name}</span>
      </a>
    </li>
  )
}
