import * as DateTime from "effect/DateTime"
import { type FormEvent, useId, useState } from "react"
import type { Caller } from "../api.ts"
import type { TeamSettings as Settings } from "../digest/api.ts"
import type { Channel } from "../schema.ts"
import { useLive, useMutation } from "./client.ts"
import { Dialog } from "./Dialog.tsx"
import { Icon } from "./Icon.tsx"
import { PendingLine } from "./Pending.tsx"
import { inZone } from "./times.ts"

interface Props {
  readonly channels: ReadonlyArray<Channel>
  readonly me: Caller
}

/** The button that opens the settings of the team. */
export const TeamSettings = ({ channels, me }: Props) => {
  const [isOpen, open] = useState(false)
  const { value: settings } = useLive("team.get", {})
  return (
    <>
      <button
        type="button"
        className="quiet"
        onClick={() => open(true)}
        aria-label="Team settings"
        title="Team settings"
      >
        <Icon name="settings" />
      </button>
      <Dialog title="Nightly digest" isOpen={isOpen} onClose={() => open(false)}>
        <p className="about">Every midnight, a message counts what was written in the public channels.</p>
        {!settings ? (
          <p className="about">Create a channel first.</p>
        ) : settings.owner === me.id ? (
          <Form channels={channels} settings={settings} />
        ) : (
          <p className="about">Only the person who created the first channel can change this.</p>
        )}
        {settings && <Next {...settings} />}
      </Dialog>
    </>
  )
}

const Next = ({ next, zone }: Settings) => (
  <p className="about" role="status">
    {next === null ? "It is off." : `The next one is on ${inZone(DateTime.toEpochMillis(next), zone)}.`}
  </p>
)

interface FormProps {
  readonly channels: ReadonlyArray<Channel>
  readonly settings: Settings
}

const zones = ["UTC", ...Intl.supportedValuesOf("timeZone").filter((zone) => zone !== "UTC")]

const Form = ({ channels, settings }: FormProps) => {
  const [channel, setChannel] = useState(settings.channel ?? "")
  const [zone, setZone] = useState(settings.zone)
  const [problem, setProblem] = useState("")
  const [save, isPending] = useMutation("team.setDigest")
  const [channelField, zoneField] = [useId(), useId()]
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    const chosen = channels.find(({ id }) => id === channel)?.id ?? null
    const outcome = await save({ channel: chosen, zone }).catch(() => undefined)
    setProblem(outcome?._tag === "Success" ? "" : "It could not be saved. Try again.")
  }
  return (
    <form className="fields" onSubmit={submit}>
      <label htmlFor={channelField}>Channel</label>
      <select id={channelField} value={channel} onChange={(event) => setChannel(event.target.value)}>
        <option value="">None: no digest</option>
        {channels.map(({ id, name }) => (
          <option key={id} value={id}>
            {name}
          </option>
        ))}
      </select>
      <label htmlFor={zoneField}>Time zone</label>
      <select id={zoneField} value={zone} onChange={(event) => setZone(event.target.value)}>
        {zones.map((zone) => (
          <option key={zone}>{zone}</option>
        ))}
      </select>
      <p className="problem" role="alert">
        {problem}
      </p>
      <button type="submit" className="primary" disabled={isPending}>
        Save
      </button>
      <PendingLine isPending={isPending} doing="Saving…" />
    </form>
  )
}
