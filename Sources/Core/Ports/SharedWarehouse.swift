import Crypto

/// A statement of another process that changes rows, with the parameters of each of its runs.
package struct WriteJob: Sendable, Equatable {
  /// Given by the sender: the same id is the same job, however often it comes.
  package var id: String
  package var sql: String
  /// One set of parameters a run.
  package var runs: [[Value]]
  /// Whether only what became of it earlier is wanted: it is too late to begin it.
  package var onlyIfNoted: Bool

  package init(id: String, sql: String, runs: [[Value]], onlyIfNoted: Bool = false) {
    self.id = id
    self.sql = sql
    self.runs = runs
    self.onlyIfNoted = onlyIfNoted
  }

  /// Tells another job under the same id from the same one again.
  package var digest: String {
    var hash = SHA256()
    hash.update(data: Array(sql.utf8) + [0])
    for run in runs {
      var bytes: [UInt8] = []
      for value in run {
        bytes.append(contentsOf: (value.type?.rawValue ?? "null").utf8)
        JSON.write(value, into: &bytes)
      }
      hash.update(data: bytes + [0])
    }
    let hexadecimal = Array("0123456789abcdef")
    return String(
      hash.finalize().prefix(8).flatMap { [hexadecimal[Int($0 >> 4)], hexadecimal[Int($0 & 15)]] })
  }
}

/// What became of a `WriteJob`.
package enum WriteOutcome: Sendable {
  case applied(rowsChanged: Int)
  /// It had been applied when it came before.
  case appliedBefore(rowsChanged: Int)
  /// Nothing of it is stored.
  case refused(PlatformError)
  /// It has not been applied, and was not to be.
  case notBegun
}

/// The ability to work for other processes that do not own the warehouse.
package protocol SharedWarehouse: Warehouse {
  /// Applies jobs in order, in as few transactions as it can.
  ///
  /// Guarantees: a job is applied wholly or not at all, and once: what has been applied, or refused for good, is noted in the same
  /// transaction, and the same id is answered from the note. One job's failure is no other's. Only statements that change rows and
  /// tables are run: none that reads or writes files, attaches, installs or sets anything. A thrown error
  /// is one of the warehouse: the jobs may come again.
  func apply(_ jobs: [WriteJob]) async throws -> [WriteOutcome]
  /// Like `stream`, for one SELECT that reads tables and nothing else: no file, no setting, no function that does something.
  func read(
    _ sql: String, _ parameters: [Value],
    _ body: @escaping @Sendable (borrowing ColumnBatch) throws -> Void
  ) async throws
  /// Forgets the oldest notes of jobs; a job of which the note is gone counts as new.
  func forgetJobs(keeping: Int) async throws
}
