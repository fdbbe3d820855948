import Core
import Features
import Synchronization
import TestKit
import Testing

/// An ingestor over a memory warehouse, and what its online side was given.
struct IngestBench: Sendable {
  static let source = SourceDefinition(
    name: "clicks", eventTime: "at", eventID: "id",
    columns: [
      ColumnDefinition(name: "user", type: .int64), ColumnDefinition(name: "page", type: .string),
    ])

  final class Applied: OnlineApplier {
    let batches = Mutex<[EventBatch]>([])
    let failure = Mutex<PlatformError?>(nil)

    func apply(_ batches: [EventBatch]) async throws {
      if let failure = failure.withLock({ $0 }) { throw failure }
      self.batches.withLock { $0.append(contentsOf: batches) }
    }

    var count: Int { batches.withLock { $0.reduce(0) { sum, batch in sum + batch.count } } }
  }

  let memory: MemoryWarehouse
  let applied = Applied()
  let clock = TestClock()
  let definitions: Published<Snapshot>
  let ingestor: Ingestor

  init(
    stored: MemoryWarehouse.Contents = .init(), source: SourceDefinition = source,
    queueRows: Int = Limits.commitQueueRows, transform: (any BatchTransform)? = nil,
    before: @escaping @Sendable () async throws -> Void = {}
  ) {
    memory = MemoryWarehouse(stored) { IngestBench.answer($0, $1, $2) }
    definitions = Published(IngestBench.snapshot(source))
    ingestor = Ingestor(
      warehouse: FaultyWarehouse(memory, before: before), applier: applied,
      definitions: definitions, clock: clock, transform: transform, queueRows: queueRows)
  }

  static func snapshot(_ source: SourceDefinition) -> Snapshot {
    Snapshot(
      version: 1, definitionsVersion: 1, definitionsDigest: "", projectDirectory: ".",
      project: ProjectDefinition(name: "test", sources: [source]), models: [:])
  }

  /// What the ingest room asks of a warehouse, from arrays.
  static func answer(
    _ stored: MemoryWarehouse.Contents, _ sql: String, _ parameters: [Value]
  ) -> [ColumnBatch] {
    if sql.contains("ingested_files") {
      let files = stored.rows.filter { $0.table == "ingested_files" }.map(\.batch)
      guard
        let file = files.first(where: {
          $0["source"]?[0] == parameters[0] && $0["digest"]?[0] == parameters[1]
        }), let rows = file["rows"], let bad = file["quarantined"], let twice = file["duplicates"]
      else { return [] }
      return [ColumnBatch(columns: [rows, bad, twice])]
    }
    if sql.contains("erasure") || sql.contains("source_marks") { return [] }
    let ids = stored.eventIDs(of: "clicks").filter {
      !$0.hasPrefix("file:") && !$0.hasPrefix("once:")
    }
    if sql.contains("SELECT event_id") {
      return [ColumnBatch(columns: [Column(name: "event_id", values: .string(ids))])]
    }
    let events = stored.events(of: "clicks")
    let sequence = events.flatMap(\.sequences).max()
    let stamp = events.flatMap(\.createdAt).max()
    return [
      ColumnBatch(columns: [
        Column(name: "sequence", type: .int64, [sequence.map { .int64($0) } ?? .null]),
        Column(name: "stamp", type: .int64, [stamp.map { .int64($0) } ?? .null]),
        Column(name: "ids", values: .int64([Int64(ids.count)])),
      ])
    ]
  }

  static func rows(_ ids: [String], source: SourceDefinition = source) -> ValidatedRows {
    ValidatedRows(
      source: source,
      columns: [
        Column(name: "user", values: .int64(ids.indices.map { Int64($0) })),
        Column(name: "page", values: .string(ids)),
      ], eventTimestamps: ids.indices.map { Int64($0) }, eventIDs: ids)
  }

  /// Runs the committer beside `body` and stops it in the end.
  func running<Result: Sendable>(
    _ body: @escaping @Sendable () async throws -> Result
  ) async throws -> Result {
    async let committer: Void = ingestor.run()
    let result: Result
    do {
      result = try await body()
    } catch {
      ingestor.stop()
      try? await committer
      throw error
    }
    ingestor.stop()
    try await committer
    return result
  }
}

/// Holds commits up until it is opened.
final class IngestGate: Sendable {
  private let state = Mutex<(isOpen: Bool, arrivals: Int)>((false, 0))

  func open() { state.withLock { $0.isOpen = true } }
  var arrivals: Int { state.withLock { $0.arrivals } }

  func pass() async {
    state.withLock { $0.arrivals += 1 }
    await until { self.state.withLock { $0.isOpen } }
  }

  /// Waits for what other tasks bring about; gives up after so many turns that they must be stuck.
  func until(_ condition: () -> Bool) async {
    for _ in 0..<5_000_000 {
      if condition() { return }
      await Task.yield()
    }
    Issue.record("the condition never came true")
  }
}

@Suite struct IngestorTests {
  @Test func `a receipt means stored, numbered, dated and online`() async throws {
    let bench = IngestBench()
    try await bench.running {
      let receipt = try await bench.ingestor.ingest(IngestBench.rows(["a", "b"]))
      #expect(receipt == IngestReceipt(accepted: 2))
      #expect(bench.applied.count == 2)
      bench.clock.set(Timestamp(microseconds: 5))
      _ = try await bench.ingestor.ingest(IngestBench.rows(["c"]))
    }
    let events = bench.memory.contents.events
    #expect(events.flatMap(\.sequences) == [1, 2, 3])
    // The clock went back, the stamp did not.
    #expect(
      events.flatMap(\.createdAt) == [
        1_700_000_000_000_000, 1_700_000_000_000_000, 1_700_000_000_000_001,
      ])
    #expect(events.flatMap(\.eventIDs) == ["a", "b", "c"])
    #expect(bench.ingestor.positions == ["clicks": 3])
    #expect(bench.ingestor.counters["clicks"]?.accepted == 3)
  }

  @Test func `an id is stored once, within a push and across pushes`() async throws {
    let bench = IngestBench()
    try await bench.running {
      let first = try await bench.ingestor.ingest(IngestBench.rows(["a", "b", "a"]))
      #expect(first == IngestReceipt(accepted: 2, duplicates: 1))
      let second = try await bench.ingestor.ingest(IngestBench.rows(["b", "c", "a"]))
      #expect(second == IngestReceipt(accepted: 1, duplicates: 2))
      let third = try await bench.ingestor.ingest(IngestBench.rows(["a"]))
      #expect(third == IngestReceipt(duplicates: 1))
    }
    #expect(bench.memory.contents.eventIDs(of: "clicks") == ["a", "b", "c"])
    #expect(bench.memory.contents.commits == 2)
    #expect(bench.applied.count == 3)
    #expect(bench.memory.contents.events.last?.columns[1].values == .string(["c"]))
  }

  @Test func `concurrent producers of the same ids store each once`() async throws {
    let bench = IngestBench()
    let receipts = try await bench.running {
      try await withThrowingTaskGroup(of: IngestReceipt.self) { group in
        for producer in 0..<16 {
          group.addTask {
            var sum = IngestReceipt()
            for push in 0..<50 {
              let ids = (0..<8).map { "\((producer + push * 7 + $0 * 13) % 500)" }
              let receipt = try await bench.ingestor.ingest(IngestBench.rows(ids))
              sum.accepted += receipt.accepted
              sum.duplicates += receipt.duplicates
            }
            return sum
          }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
    }
    let ids = bench.memory.contents.eventIDs(of: "clicks")
    #expect(Set(ids).count == ids.count)
    #expect(receipts.reduce(0) { $0 + $1.accepted } == ids.count)
    #expect(receipts.reduce(0) { $0 + $1.accepted + $1.duplicates } == 16 * 50 * 8)
    let sequences = bench.memory.contents.events.flatMap(\.sequences)
    #expect(sequences == Array(1...Int64(ids.count)))
    #expect(bench.applied.count == ids.count)
  }

  @Test func `pushes that arrive during a commit share the next one`() async throws {
    let gate = IngestGate()
    let bench = IngestBench(before: { await gate.pass() })
    try await bench.running {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { _ = try await bench.ingestor.ingest(IngestBench.rows(["first"])) }
        await gate.until { gate.arrivals == 1 }
        for producer in 1..<20 {
          group.addTask { _ = try await bench.ingestor.ingest(IngestBench.rows(["\(producer)"])) }
        }
        await gate.until { bench.ingestor.queuedRows == 19 }
        gate.open()
        try await group.waitForAll()
      }
    }
    #expect(bench.memory.contents.commits == 2)
    #expect(bench.memory.contents.eventIDs(of: "clicks").count == 20)
  }

  @Test func `a failed commit stores nothing and releases its ids`() async throws {
    let fails = Mutex(true)
    let bench = IngestBench(before: {
      if fails.withLock({ $0 }) { throw PlatformError(.storage, "the disk is full") }
    })
    try await bench.running {
      let error = await #expect(throws: PlatformError.self) {
        try await bench.ingestor.ingest(IngestBench.rows(["a", "b"]))
      }
      #expect(error?.code == .storage)
      #expect(bench.memory.contents.events.isEmpty && bench.applied.count == 0)
      fails.withLock { $0 = false }
      let receipt = try await bench.ingestor.ingest(IngestBench.rows(["a", "b", "c"]))
      #expect(receipt == IngestReceipt(accepted: 3))
    }
    #expect(bench.memory.contents.eventIDs(of: "clicks") == ["a", "b", "c"])
  }

  @Test func `commits that fail at random store every acknowledged event once`() async throws {
    let random = Mutex(SeededGenerator(seed: 11))
    let bench = IngestBench(before: {
      if random.withLock({ Bool.random(using: &$0) }) { throw PlatformError(.storage, "again") }
    })
    try await bench.running {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for producer in 0..<8 {
          group.addTask {
            for push in 0..<40 {
              let rows = IngestBench.rows(["\(producer)-\(push)", "shared-\(push)"])
              while (try? await bench.ingestor.ingest(rows)) == nil { await Task.yield() }
            }
          }
        }
        try await group.waitForAll()
      }
    }
    let ids = bench.memory.contents.eventIDs(of: "clicks")
    #expect(ids.count == 8 * 40 + 40)
    #expect(Set(ids).count == ids.count)
    #expect(bench.applied.count == ids.count)
  }

  @Test func `what the warehouse has is known after a start`() async throws {
    let first = IngestBench()
    try await first.running { _ = try await first.ingestor.ingest(IngestBench.rows(["a", "b"])) }
    let second = IngestBench(stored: first.memory.contents)
    second.clock.set(Timestamp(microseconds: 3))
    try await second.ingestor.restore()
    #expect(second.ingestor.positions == ["clicks": 2])
    try await second.running {
      let receipt = try await second.ingestor.ingest(IngestBench.rows(["b", "c"]))
      #expect(receipt == IngestReceipt(accepted: 1, duplicates: 1))
    }
    #expect(second.memory.contents.events.last?.sequences == [3])
    #expect(second.memory.contents.events.last?.createdAt == [1_700_000_000_000_001])
  }

  @Test func `a full queue slows producers and refuses requests`() async throws {
    let gate = IngestGate()
    let bench = IngestBench(queueRows: 10, before: { await gate.pass() })
    try await bench.running {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for producer in 0..<6 {
          group.addTask {
            _ = try await bench.ingestor.ingest(
              IngestBench.rows((0..<5).map { "\(producer)-\($0)" }))
          }
          if producer == 0 { await gate.until { gate.arrivals == 1 } }
        }
        await gate.until { bench.ingestor.queuedRows == 25 }
        let refusal = await #expect(throws: PlatformError.self) {
          try await bench.ingestor.ingest(IngestBench.rows(["x"]), overload: .refuse)
        }
        #expect(refusal?.code == .overloaded && refusal?.retryAfter != nil)
        gate.open()
        try await group.waitForAll()
      }
    }
    #expect(bench.memory.contents.eventIDs(of: "clicks").count == 30)
  }

  @Test func `nothing is committed during a pause`() async throws {
    let bench = IngestBench()
    try await bench.running {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for producer in 0..<30 {
          group.addTask { _ = try await bench.ingestor.ingest(IngestBench.rows(["\(producer)"])) }
          group.addTask {
            try await bench.ingestor.pause {
              let before = bench.memory.contents.commits
              for _ in 0..<50 { await Task.yield() }
              #expect(bench.memory.contents.commits == before)
              #expect(
                bench.ingestor.positions["clicks", default: 0] == Int64(bench.applied.count))
            }
          }
        }
        try await group.waitForAll()
      }
      let error = await #expect(throws: PlatformError.self) {
        try await bench.ingestor.pause { throw PlatformError(.conflict, "no") }
      }
      #expect(error?.code == .conflict)
    }
    #expect(bench.applied.count == 30)
  }

  @Test func `rows of an older definition are brought to the newer one`() async throws {
    let bench = IngestBench()
    var newer = IngestBench.source
    newer.columns = [
      ColumnDefinition(name: "page", type: .string), ColumnDefinition(name: "price", type: .double),
    ]
    bench.definitions.publish(IngestBench.snapshot(newer))
    try await bench.running { _ = try await bench.ingestor.ingest(IngestBench.rows(["a"])) }
    let batch = try #require(bench.memory.contents.events.first)
    #expect(batch.columns.map(\.name) == ["page", "price"])
    #expect(batch.columns[1].presence(at: 0) == .absent)

    newer.columns[0].type = .bool
    let other = IngestBench(source: newer)
    try await other.running {
      let error = await #expect(throws: PlatformError.self) {
        try await other.ingestor.ingest(IngestBench.rows(["a"]))
      }
      #expect(error?.code == .conflict)
    }
  }

  @Test func `quarantined records are stored with the commit`() async throws {
    let bench = IngestBench()
    var rows = IngestBench.rows([])
    rows.quarantined = [
      QuarantinedRecord(source: "clicks", record: "x", reason: "no", position: "push c sequence 1")
    ]
    rows.unknownFields = 4
    let pushed = rows
    try await bench.running {
      let receipt = try await bench.ingestor.ingest(pushed)
      #expect(receipt == IngestReceipt(quarantined: 1, unknownFields: 4))
    }
    #expect(bench.memory.contents.quarantined == rows.quarantined)
    #expect(bench.memory.contents.events.isEmpty)
  }

  @Test func `an online state that cannot follow ends the committer`() async throws {
    let bench = IngestBench()
    bench.applied.failure.withLock { $0 = PlatformError(.storage, "gone") }
    await #expect(throws: PlatformError.self) {
      try await bench.running {
        let first = try? await bench.ingestor.ingest(IngestBench.rows(["a"]))
        let second = try? await bench.ingestor.ingest(IngestBench.rows(["b"]))
        if let receipt = first ?? second { Issue.record("acknowledged: \(receipt)") }
      }
    }
    #expect(bench.memory.contents.eventIDs(of: "clicks") == ["a"])
  }

  @Test func `an online store that is away is waited for, and producers are told`() async throws {
    let bench = IngestBench()
    bench.applied.failure.withLock { $0 = PlatformError(.unavailable, "no Redis") }
    try await bench.running {
      let stored = await #expect(throws: PlatformError.self) {
        try await bench.ingestor.ingest(IngestBench.rows(["a"]))
      }
      #expect(stored?.code == .unavailable && stored?.retryAfter != nil)
      #expect(stored?.message.contains("the events are stored") == true, "\(stored as Any)")
      #expect(bench.ingestor.isBehind)
      let refused = await #expect(throws: PlatformError.self) {
        try await bench.ingestor.ingest(IngestBench.rows(["b"]))
      }
      #expect(refused?.code == .unavailable)
      #expect(refused?.message.contains("no events are taken") == true, "\(refused as Any)")
      bench.applied.failure.withLock { $0 = nil }
      try await waitUntil("the events were online") { !bench.ingestor.isBehind }
      #expect(try await bench.ingestor.ingest(IngestBench.rows(["a"])).duplicates == 1)
      #expect(try await bench.ingestor.ingest(IngestBench.rows(["b"])).accepted == 1)
    }
    #expect(bench.memory.contents.eventIDs(of: "clicks") == ["a", "b"])
    #expect(bench.applied.count == 2)
  }

  @Test func `a stopped ingestor stores what waits and refuses the rest`() async throws {
    let bench = IngestBench()
    let ticket = try await bench.ingestor.submit(IngestBench.rows(["a"]))
    bench.ingestor.stop()
    let refusal = await #expect(throws: PlatformError.self) {
      try await bench.ingestor.ingest(IngestBench.rows(["b"]))
    }
    #expect(refusal?.code == .unavailable)
    try await bench.ingestor.run()
    #expect(try await ticket.receipt() == IngestReceipt(accepted: 1))
  }

  @Test(arguments: [
    (RecordOrigin.push(client: "crm"), "push crm sequence 8"),
    (RecordOrigin.once(token: "4f0e"), "push record 8"),
    (RecordOrigin.file(name: "a.jsonl", digest: "00ff"), "file a.jsonl row 8"),
  ])
  func `a record that a transform refuses is found where it was sent from`(
    origin: RecordOrigin, position: String
  ) async throws {
    var source = IngestBench.source
    source.eventID = "page"
    source.transform = CodeReference(file: "t.py", function: "check")
    var parser = RecordParser(source: source, origin: origin)
    let lines = ["a", "b", "", "c"].enumerated().map { index, page in
      page.isEmpty
        ? "{oops" : #"{"at": "2026-01-01T00:00:00Z", "user": \#(index), "page": "\#(page)"}"#
    }
    try parser.append(lines: Array(lines.joined(separator: "\n").utf8), first: 5)
    let rows = parser.finishRows()
    let bench = IngestBench(source: source, transform: RaisingForTheLast())
    let receipt = try await bench.running { try await bench.ingestor.ingest(rows) }
    #expect(receipt.accepted == 2 && receipt.quarantined == 2, "\(receipt)")
    #expect(receipt.refusals.first?.contains("ValueError") == true, "\(receipt)")
    let found = bench.memory.contents.quarantined.first { $0.reason.contains("ValueError") }
    #expect(found?.position == position)
  }

  @Test func `an unknown source and a missing transform are refused`() async throws {
    let bench = IngestBench()
    var other = IngestBench.source
    other.name = "clickz"
    let stray = IngestBench.rows(["a"], source: other)
    var coded = IngestBench.source
    coded.transform = CodeReference(file: "t.py", function: "enrich")
    let needy = IngestBench.rows(["a"], source: coded)
    try await bench.running {
      let unknown = await #expect(throws: PlatformError.self) {
        try await bench.ingestor.ingest(stray)
      }
      #expect(unknown?.message.contains("did you mean 'clicks'?") == true)
      let missing = await #expect(throws: PlatformError.self) {
        try await bench.ingestor.ingest(needy)
      }
      #expect(missing?.code == .failedPrecondition)
    }
  }
}

/// Changes nothing, and raises for the last row.
private struct RaisingForTheLast: BatchTransform {
  func transform(
    _ batch: ColumnBatch, of source: SourceDefinition, with function: CodeReference
  ) async throws -> TransformedRows {
    TransformedRows(columns: [], faults: [batch.count - 1: "ValueError: the last"])
  }
}
