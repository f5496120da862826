/// <reference types="node" />

/**
 * The transfers in a plain Node process: every call is a transaction of its own in a SQLite file, and its commit is on
 * disk (`synchronous = FULL`) before its answer is sent.
 */
import { DatabaseSync } from "node:sqlite"
import { WebSocketServer } from "ws"
import { type Bank, createAccounts, insertAccounts, receive } from "./bank.ts"

const database = new DatabaseSync(process.argv[2]!)
database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
database.exec(createAccounts)

const begin = database.prepare("BEGIN IMMEDIATE")
const commit = database.prepare("COMMIT")
const rollback = database.prepare("ROLLBACK")
const insert = database.prepare(insertAccounts)
const select = database.prepare("SELECT balance FROM accounts WHERE id = ?")
const update = database.prepare("UPDATE accounts SET balance = ? WHERE id = ?")
const total = database.prepare("SELECT sum(balance) AS total FROM accounts")

const bank: Bank = {
  transaction: (run) => {
    begin.run()
    try {
      run()
    } catch (thrown) {
      rollback.run()
      throw thrown
    }
    commit.run()
  },
  insert: (first, count, balance) => {
    insert.run(first, count, balance)
  },
  balance: (id) => select.get(id)?.["balance"] as number | undefined,
  setBalance: (id, balance) => {
    update.run(balance, id)
  },
  total: () => total.get()!["total"] as number
}

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 })
server.on("connection", (socket) => {
  socket.on("message", (data) => receive(bank, data.toString(), (answer) => socket.send(answer)))
})
server.on("listening", () => process.send!(server.address().port))
process.on("disconnect", () => process.exit())
