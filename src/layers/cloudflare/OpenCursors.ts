/**
 * Statements of which not all rows were read. SQLite keeps them open, and meanwhile drops no table, column or index.
 * The platform has no call that ends them. A change of the schema that is rolled back cancels them: the next row is an
 * error, and with it the statement is over.
 */

/**
 * The cursor of a statement. The platform keeps it as long as its statement is open. The iterator of its raw rows may be
 * collected long before.
 */
interface Cursor {
  readonly next: () => { done?: boolean }
}

/** How many are kept before those that the garbage collector took are left out. */
const minPruned = 256

/** The statements of one database that were left before their last row. */
export class OpenCursors {
  private refs: Array<WeakRef<Cursor>> = []
  private pruneAt = minPruned

  /** Keeps a statement in mind whose remaining rows nobody reads. */
  add(cursor: Cursor): void {
    this.refs.push(new WeakRef(cursor))
    if (this.refs.length < this.pruneAt) return
    this.refs = this.refs.filter((ref) => ref.deref() !== undefined)
    this.pruneAt = Math.max(minPruned, 2 * this.refs.length)
  }

  /** Ends them all. `changeSchema` changes the schema and rolls the change back. Returns whether there were any. */
  end(changeSchema: () => void): boolean {
    const { refs } = this
    if (refs.length === 0) return false
    this.refs = []
    changeSchema()
    for (const ref of refs) {
      try {
        // One row may be there already.
        while (ref.deref()?.next().done === false);
      } catch {
        // It was cancelled, as it should be.
      }
    }
    return true
  }
}
