import * as Effect from "effect/Effect"
import { createTopicHooks } from "effect-dormouse/pubsub/react"
import { createHooks } from "effect-dormouse/react"
import { TestApp } from "effect-dormouse/testing"
import { type ReactNode, StrictMode, useState } from "react"
import { createRoot } from "react-dom/client"
import { expect, it } from "vitest"
import { app, Here, TopicsApi } from "../worker/topics.ts"
import { document } from "./page.ts"

/** The hooks of topics and presence. */

const hooks = createHooks(TopicsApi)
const { Provider, useLive } = hooks
const { usePresence, useTopic } = createTopicHooks(hooks)

const Said = ({ room }: { readonly room: string }) => {
  const [texts, setTexts] = useState<ReadonlyArray<string>>([])
  useTopic("said", { room }, ({ message }) => setTexts((texts) => [...texts, message.text]))
  return <p>{texts.join()}</p>
}

const Told = ({ room }: { readonly room: string }) => useTopic("told", { room }, () => {})?._tag ?? "read"

const Room = ({ mood, room }: { readonly mood: string; readonly room: string }) => {
  usePresence(Here, { room }, { mood })
  const { value = [] } = useLive("here", { room })
  return value.map(({ state, subject }) => `${subject} ${state.mood}`).join()
}

it("C19: hooks read a topic, take part in presence while they are mounted, and return how they were refused", () =>
  Effect.runPromise(
    Effect.scoped(
      Effect.provide(
        Effect.gen(function* () {
          const ada = yield* TestApp.client(TopicsApi, { as: { subject: "ada", claims: {} } })
          const bob = yield* TestApp.client(TopicsApi, { as: { subject: "bob", claims: {} } })
          const container = document.createElement("div")
          const root = createRoot(container as never)
          const render = (node: ReactNode) =>
            root.render(
              <StrictMode>
                <Provider client={ada}>{node}</Provider>
              </StrictMode>
            )
          const shows = (text: string) => Effect.promise(() => expect.poll(() => container.textContent).toBe(text))
          render(<Told room="a" />)
          yield* shows("NoMember")
          render(<Said room="a" />)
          yield* Effect.promise(() =>
            expect
              .poll(async () => {
                await Effect.runPromise(Effect.orDie(bob.mutate("say", { room: "a", texts: ["x"] })))
                return container.textContent?.startsWith("x")
              })
              .toBe(true)
          )
          render(<Room room="a" mood="glad" />)
          yield* shows("ada glad")
          render(<Room room="a" mood="sad" />)
          yield* shows("ada sad")
          render(<Room room="b" mood="calm" />)
          yield* shows("ada calm")
          expect(yield* bob.query("here", { room: "b" })).toMatchObject([{ subject: "ada", state: { mood: "calm" } }])
          root.unmount()
          yield* Effect.promise(() =>
            expect.poll(() => Effect.runPromise(Effect.orDie(bob.query("here", { room: "b" })))).toEqual([])
          )
        }),
        TestApp.layer(app)
      )
    )
  ))
