import Core
import Dispatch
import Synchronization

/// A warehouse that keeps commits in arrays, for tests of what writes to one.
///
/// It knows no SQL: `answer` gives the rows of a query, from what is stored.
package final class MemoryWarehouse: Warehouse {
  package struct Contents: Sendable {
    package var events: [EventBatch] = []
    package var quarantined: [QuarantinedRecord] = []
    package var rows: [(table: String, batch: ColumnBatch)] = []
    package var positions: [StreamPartition: Int64] = [:]
    /// Transactions that were committed.
    package var commits = 0

    package init() {}

    package func events(of source: String) -> [EventBatch] { events.filter { $0.source == source } }

    package func eventIDs(of source: String) -> [String] {
      events(of: source).flatMap(\.eventIDs)
    }
  }

  package typealias Answer = @Sendable (Contents, String, [Value]) -> [ColumnBatch]

  private let state: Mutex<Contents>
  private let answer: Answer

  package init(_ contents: Contents = Contents(), answer: @escaping Answer = { _, _, _ in [] }) {
    state = Mutex(contents)
    self.answer = answer
  }

  package var contents: Contents { state.withLock { $0 } }

  package func prepare(_ sources: [SourceDefinition]) async throws {}

  package func commit(_ commit: WarehouseCommit) async throws {
    try state.withLock { state in
      for advance in commit.advances where state.positions[advance.partition] != advance.from {
        throw PlatformError(.conflict, "\(advance.partition) is somewhere else", retryable: true)
      }
      for advance in commit.advances { state.positions[advance.partition] = advance.next }
      state.events += commit.events
      state.quarantined += commit.quarantined
      state.rows += commit.rows
      state.commits += 1
    }
  }

  package func transaction<Result: Sendable>(
    _ body: @escaping @Sendable (any WarehouseAppender) throws -> Result
  ) async throws -> Result {
    try await onThread { [self] in
      let appender = Appender()
      let result = try body(appender)
      let added = appender.added.withLock { $0 }
      state.withLock { state in
        state.events += added.events
        state.quarantined += added.quarantined
        state.rows += added.rows
        state.commits += 1
      }
      return result
    }
  }

  package func stream(
    _ sql: String, _ parameters: [Value],
    _ body: @escaping @Sendable (borrowing ColumnBatch) throws -> Void
  ) async throws {
    let contents = self.contents
    if sql.contains("FROM stream_offsets") {
      let rows = contents.positions.sorted { $0.key < $1.key }
      try body(
        ColumnBatch(columns: [
          Column(name: "topic", values: .string(rows.map(\.key.topic))),
          Column(name: "partition", values: .int64(rows.map { Int64($0.key.partition) })),
          Column(name: "next_offset", values: .int64(rows.map(\.value))),
        ]))
      return
    }
    for batch in answer(contents, sql, parameters) { try body(batch) }
  }

  package func execute(_ sql: String, _ parameters: [Value]) async throws {}
  package func close() async throws {}

  private final class Appender: WarehouseAppender, Sendable {
    let added = Mutex(Contents())

    func append(_ events: EventBatch) throws { added.withLock { $0.events.append(events) } }
    func append(_ records: [QuarantinedRecord], at time: Timestamp?) throws {
      added.withLock { $0.quarantined += records }
    }
    func execute(_ sql: String, _ parameters: [Value]) throws -> Int { 0 }
    func query(_ sql: String, _ parameters: [Value]) throws -> ColumnBatch {
      ColumnBatch(columns: [])
    }
    func append(_ batch: ColumnBatch, to table: String) throws {
      added.withLock { $0.rows.append((table, batch)) }
    }
  }
}

/// A warehouse that asks before each commit and transaction whether it may fail, or holds it up.
package struct FaultyWarehouse: Warehouse {
  private let base: any Warehouse
  private let before: @Sendable () async throws -> Void

  /// `before` runs ahead of every commit and transaction; a throw fails it with nothing stored.
  package init(_ base: any Warehouse, before: @escaping @Sendable () async throws -> Void) {
    self.base = base
    self.before = before
  }

  package func prepare(_ sources: [SourceDefinition]) async throws {
    try await base.prepare(sources)
  }

  package func commit(_ commit: WarehouseCommit) async throws {
    try await before()
    try await base.commit(commit)
  }

  package func transaction<Result: Sendable>(
    _ body: @escaping @Sendable (any WarehouseAppender) throws -> Result
  ) async throws -> Result {
    try await before()
    return try await base.transaction(body)
  }

  package func stream(
    _ sql: String, _ parameters: [Value],
    _ body: @escaping @Sendable (borrowing ColumnBatch) throws -> Void
  ) async throws {
    try await base.stream(sql, parameters, body)
  }

  package func execute(_ sql: String, _ parameters: [Value]) async throws {
    try await base.execute(sql, parameters)
  }

  package func close() async throws { try await base.close() }
}

/// Runs blocking work away from the cooperative threads.
private func onThread<Result: Sendable>(
  _ body: @escaping @Sendable () throws -> Result
) async throws -> Result {
  try await withCheckedThrowingContinuation { continuation in
    DispatchQueue.global().async { continuation.resume(with: Swift.Result { try body() }) }
  }
}
