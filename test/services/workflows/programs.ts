import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Activity from "effect/workflow/Activity"
import * as DurableClock from "effect/workflow/DurableClock"
import * as DurableDeferred from "effect/workflow/DurableDeferred"
import * as Workflow from "effect/workflow/Workflow"
import type { Random } from "../../random.ts"

/** A workflow whose payload says what it does, for random tests. */

export type Op =
  | { readonly op: "act"; readonly name: string; readonly how: "ok" | "fail" | "die"; readonly undo: boolean }
  | { readonly op: "sleep"; readonly name: string; readonly millis: number }
  | { readonly op: "wait"; readonly name: string }
  | { readonly op: "both"; readonly left: ReadonlyArray<Op>; readonly right: ReadonlyArray<Op> }
  | { readonly op: "race"; readonly name: string; readonly left: Op; readonly right: Op }
  | { readonly op: "try"; readonly body: ReadonlyArray<Op> }
  | { readonly op: "child"; readonly key: string; readonly body: ReadonlyArray<Op> }

class Broken extends Schema.TaggedError<Broken>("test/programs/Broken")("Broken", { name: Schema.String }) {}

const Texts = Schema.Array(Schema.String)

export const Program = Workflow.make("Program", {
  payload: { key: Schema.String, ops: Schema.Json },
  success: Texts,
  error: Broken,
  idempotencyKey: ({ key }) => key
})

/** The deferreds of programs. */
export const deferredOf = (name: string) => DurableDeferred.make(name, { success: Schema.String, error: Broken })

/** The activities that ran, in their order. */
export const ran: Array<string> = []

const act = (name: string, how: "ok" | "fail" | "die") =>
  Activity.make({
    name,
    success: Schema.String,
    error: Broken,
    execute: Effect.suspend(() => {
      ran.push(name)
      if (how === "fail") return Effect.fail(new Broken({ name }))
      if (how === "die") return Effect.die(new Error(name))
      return Effect.succeed(name)
    })
  })

const sequence = (ops: ReadonlyArray<Op>): Effect.Effect<ReadonlyArray<string>, Broken, any> =>
  Effect.map(Effect.forEach(ops, interpret), (texts) => texts.flat())

const interpret = (op: Op): Effect.Effect<ReadonlyArray<string>, Broken, any> => {
  switch (op.op) {
    case "act": {
      const activity = Effect.map(act(op.name, op.how), (text) => [text])
      return op.undo ? Program.withCompensation(activity, () => Effect.ignore(act(`undo ${op.name}`, "ok"))) : activity
    }
    case "sleep":
      return Effect.as(DurableClock.sleep({ name: op.name, duration: op.millis, inMemoryThreshold: 0 }), [op.name])
    case "wait":
      return Effect.map(DurableDeferred.await(deferredOf(op.name)), (text) => [text])
    case "both":
      return Effect.map(Effect.all([sequence(op.left), sequence(op.right)], { concurrency: 2 }), ([left, right]) => [
        ...left,
        ...right
      ])
    case "race":
      return DurableDeferred.raceAll({
        name: op.name,
        success: Texts,
        error: Broken,
        effects: [interpret(op.left), interpret(op.right)] as any
      }) as Effect.Effect<ReadonlyArray<string>, Broken, any>
    case "try":
      return Effect.catchTag(sequence(op.body), "Broken", ({ name }) => Effect.succeed([`caught ${name}`]))
    case "child":
      return Program.execute({ key: op.key, ops: op.body as any })
  }
}

export const ProgramLive = Program.toLayer(
  ({ ops }) => sequence(ops as any) as Effect.Effect<ReadonlyArray<string>, Broken>
)

/** A program, and what happens while it runs. */
export interface Case {
  readonly ops: ReadonlyArray<Op>
  readonly events: ReadonlyArray<Event>
}

export type Event = { readonly at: number } & (
  | { readonly event: "complete"; readonly name: string; readonly how: "ok" | "fail" }
  | { readonly event: "interrupt" }
  | { readonly event: "resume" }
)

/** The end of the time in which all happens. */
export const horizon = 1000

export const randomCase = (random: Random, key: string): Case => {
  // When one branch waits, its siblings are interrupted, and begin again when it goes on. What they have done by then, Effect
  // does not say: cases with branches have nothing that depends on when something happens.
  const isParallel = random.chance(0.4)
  let names = 0
  const waits: Array<string> = []
  const name = (kind: string) => `${kind}${names++}`
  const wait = (): Op => {
    const made = random.chance(0.15) && waits.length > 0 ? random.pick(waits) : name("wait")
    waits.push(made)
    return { op: "wait", name: made }
  }
  const sleep = (): Op => ({ op: "sleep", name: name("sleep"), millis: 1 + random.int(isParallel ? 60 : 120) })
  const opsOf = (depth: number, where: "top" | "try" | "both" | "child", length: number): ReadonlyArray<Op> =>
    random.array(length, (): Op => {
      const kind = random.int(depth > 0 ? 12 : 6)
      if (kind < 3) {
        // What fails beside something else would interrupt it, now or a little later.
        const mayFail = where !== "both"
        const how = mayFail && random.chance(0.12) ? random.pick(["fail", "fail", "die"] as const) : "ok"
        return { op: "act", name: name("act"), how, undo: where === "top" && random.chance(0.4) }
      }
      if (kind < 5) return sleep()
      // One of those in two branches may be completed with a failure, which would interrupt the other one.
      if (kind < 6) return where === "both" ? sleep() : wait()
      if (kind < 8) return isParallel ? sleep() : { op: "race", name: name("race"), left: wait(), right: sleep() }
      if (kind < 9) return { op: "try", body: opsOf(depth - 1, where === "both" ? "both" : "try", 1 + random.int(2)) }
      if (kind < 11 && isParallel) {
        return {
          op: "both",
          left: opsOf(depth - 1, "both", 1 + random.int(2)),
          right: opsOf(depth - 1, "both", 1 + random.int(2))
        }
      }
      if (where === "both") return sleep()
      return { op: "child", key: `${key} ${name("child")}`, body: opsOf(depth - 1, "child", 1 + random.int(2)) }
    })
  const ops = opsOf(2, "top", 2 + random.int(4))
  const events: Array<Event> = []
  for (const name of new Set(waits)) {
    if (random.chance(0.85)) {
      const how = random.chance(0.8) ? "ok" : "fail"
      events.push({ at: random.int(250), event: "complete", name, how })
    }
  }
  if (!isParallel && random.chance(0.25)) events.push({ at: random.int(250), event: "interrupt" })
  if (random.chance(0.2)) events.push({ at: random.int(250), event: "resume" })
  return { ops, events: events.sort((a, b) => a.at - b.at) }
}
