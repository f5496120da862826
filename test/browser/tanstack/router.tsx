/** The router, which TanStack Start asks for by the name of this file. */
import { createRouter } from "@tanstack/react-router"
import { routeTree } from "./routeTree.gen.ts"

export const getRouter = () => createRouter({ routeTree })
