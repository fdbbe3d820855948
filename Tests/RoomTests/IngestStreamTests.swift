import Core
import Features
import Synchronization
import TestKit
import Testing

/// A stream ingest over a memory warehouse; each membership is a scripted stream.
private struct StreamBench: Sendable {
  static let source = SourceDefinition(
    name: "clicks", eventTime: "at", eventID: "id",
    columns: [
      ColumnDefinition(name: "user", type: .int64), ColumnDefinition(name: "page", type: .string),
    ], checks: [ColumnCheck(column: "user", required: true)],
    kafka: KafkaDefinition(topic: "clicks"))
  static let zero = StreamPartition(topic: "clicks", partition: 0)
  static let one = StreamPartition(topic: "clicks", partition: 1)

  let bench: IngestBench

  init(
    source: SourceDefinition = source, views: [ViewDefinition] = [],
    entities: [EntityDefinition] = [], queueRows: Int = Limits.commitQueueRows,
    before: @escaping @Sendable () async throws -> Void = {}
  ) {
    bench = IngestBench(source: source, queueRows: queueRows, before: before)
    var snapshot = IngestBench.snapshot(source)
    snapshot.project.views = views
    snapshot.project.entities = entities
    bench.definitions.publish(snapshot)
  }

  /// Runs ingest beside `body`, which gets it and the function that waits for the nth membership.
  func running(
    _ body:
      @escaping @Sendable (StreamIngest, (Int) async throws -> ScriptedEventStream)
      async throws -> Void
  ) async throws {
    let box = StreamBox()
    let ingest = StreamIngest(
      ingestor: bench.ingestor, definitions: bench.definitions, pause: .zero
    ) { _ in box.open() }
    try await bench.running {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await ingest.run() }
        try await body(ingest) { try await box.stream($0) }
        group.cancelAll()
        try await group.waitForAll()
      }
    }
  }

  func stored() -> MemoryWarehouse.Contents { bench.memory.contents }

  static func record(_ user: Int, page: String = "p") -> String {
    #"{"user": \#(user), "page": "\#(page)", "at": "2026-01-01T00:00:00Z"}"#
  }
}

private final class StreamBox: Sendable {
  private let streams = Mutex<[ScriptedEventStream]>([])

  func open() -> ScriptedEventStream {
    let stream = ScriptedEventStream()
    streams.withLock { $0.append(stream) }
    return stream
  }

  func stream(_ index: Int) async throws -> ScriptedEventStream {
    try await waitUntil("membership \(index) began") { streams.withLock { $0.count > index } }
    return streams.withLock { $0[index] }
  }
}

@Suite struct IngestStreamTests {
  @Test func `rows and position are stored in one transaction, then the group is told`()
    async throws
  {
    let bench = StreamBench()
    try await bench.running { ingest, membership in
      let stream = try await membership(0)
      stream.give(.assigned([StreamBench.zero]))
      stream.give([StreamBench.record(1), StreamBench.record(2)], of: StreamBench.zero, from: 7)
      try await waitUntil("the offset was committed") { stream.committed[StreamBench.zero] == 9 }
      #expect(stream.begun == [[StreamBench.zero: nil]])
      #expect(bench.bench.applied.count == 2)
    }
    let stored = bench.stored()
    #expect(stored.commits == 1)
    #expect(stored.positions == [StreamBench.zero: 9])
    #expect(stored.eventIDs(of: "clicks") == ["kafka:clicks/0/7", "kafka:clicks/0/8"])
  }

  @Test func `reading begins where the stored events end`() async throws {
    let bench = StreamBench()
    try await bench.bench.memory.commit(
      WarehouseCommit(advances: [StreamAdvance(partition: StreamBench.zero, from: nil, next: 40)]))
    try await bench.running { _, membership in
      let stream = try await membership(0)
      stream.give(.assigned([StreamBench.zero, StreamBench.one]))
      try await waitUntil("reading began") { !stream.begun.isEmpty }
      #expect(stream.begun == [[StreamBench.zero: 40, StreamBench.one: nil]])
    }
  }

  @Test func `an event id in the header is known again, whatever the offset`() async throws {
    let bench = StreamBench()
    try await bench.running { _, membership in
      let stream = try await membership(0)
      stream.give(.assigned([StreamBench.zero]))
      let record = StreamBench.record(1)
      stream.give([record], of: StreamBench.zero, from: 0, eventIDs: ["e1"])
      stream.give([record, record], of: StreamBench.zero, from: 1, eventIDs: ["e1", "e2"])
      try await waitUntil("all was committed") { stream.committed[StreamBench.zero] == 3 }
    }
    #expect(bench.stored().eventIDs(of: "clicks") == ["e1", "e2"])
    #expect(bench.bench.ingestor.counters["clicks"]?.duplicates == 1)
  }

  @Test func `poison goes to quarantine whole and the partition goes on`() async throws {
    let bench = StreamBench()
    let bad = "{\"user\": \"x\", \"at\": \"2026-01-01T00:00:00Z\"}"
    try await bench.running { _, membership in
      let stream = try await membership(0)
      stream.give(.assigned([StreamBench.one]))
      stream.give(
        ["not json", bad, nil, StreamBench.record(3)], of: StreamBench.one, from: 10)
      try await waitUntil("all was committed") { stream.committed[StreamBench.one] == 14 }
    }
    let stored = bench.stored()
    #expect(stored.eventIDs(of: "clicks") == ["kafka:clicks/1/13"])
    #expect(stored.quarantined.map(\.record) == ["not json", bad, ""])
    #expect(
      stored.quarantined.map(\.position) == [
        "kafka clicks/1/10", "kafka clicks/1/11", "kafka clicks/1/12",
      ])
    #expect(stored.quarantined[1].reason.contains("column 'user'"))
    #expect(stored.quarantined[2].reason.contains("tombstone"))
  }

  @Test func `a store that fails ends the membership, and nothing is lost or counted twice`()
    async throws
  {
    let failures = Mutex(2)
    let bench = StreamBench {
      let fails = failures.withLock { left in
        left -= 1
        return left >= 0
      }
      if fails { throw PlatformError(.storage, "the disk is full") }
    }
    try await bench.running { _, membership in
      for index in 0..<3 {
        let stream = try await membership(index)
        stream.give(.assigned([StreamBench.zero]))
        stream.give([StreamBench.record(1)], of: StreamBench.zero, from: 0)
        stream.give([StreamBench.record(2)], of: StreamBench.zero, from: 1)
        if index < 2 {
          try await waitUntil("membership \(index) ended") { stream.isClosed }
          #expect(stream.committed.isEmpty)
        } else {
          try await waitUntil("all was committed") { stream.committed[StreamBench.zero] == 2 }
        }
      }
    }
    #expect(
      bench.stored().eventIDs(of: "clicks").sorted() == ["kafka:clicks/0/0", "kafka:clicks/0/1"])
  }

  @Test
  func `a partition that another process has stored meanwhile is refused, other pushes are not`()
    async throws
  {
    let gate = IngestGate()
    let bench = StreamBench { await gate.pass() }
    try await bench.running { _, membership in
      let stream = try await membership(0)
      stream.give(.assigned([StreamBench.zero]))
      try await waitUntil("reading began") { !stream.begun.isEmpty }
      async let first = bench.bench.ingestor.ingest(IngestBench.rows(["held"]))
      try await waitUntil("the first commit is held") { gate.arrivals == 1 }
      stream.give([StreamBench.record(1)], of: StreamBench.zero, from: 0)
      async let second = bench.bench.ingestor.ingest(IngestBench.rows(["pushed"]))
      try await waitUntil("both wait for one commit") { bench.bench.ingestor.queuedRows == 2 }
      // The other process.
      try await bench.bench.memory.commit(
        WarehouseCommit(advances: [StreamAdvance(partition: StreamBench.zero, from: nil, next: 5)]))
      gate.open()
      #expect(try await first.accepted == 1)
      #expect(try await second.accepted == 1)
      let again = try await membership(1)
      again.give(.assigned([StreamBench.zero]))
      try await waitUntil("reading began anew") { !again.begun.isEmpty }
      #expect(again.begun == [[StreamBench.zero: 5]])
    }
    #expect(bench.stored().eventIDs(of: "clicks") == ["held", "pushed"])
    #expect(bench.stored().positions == [StreamBench.zero: 5])
  }

  @Test func `revoked partitions are let go when their batches are stored, not before`()
    async throws
  {
    let gate = IngestGate()
    let bench = StreamBench { await gate.pass() }
    try await bench.running { _, membership in
      let stream = try await membership(0)
      stream.give(.assigned([StreamBench.zero]))
      stream.give([StreamBench.record(1)], of: StreamBench.zero, from: 0)
      stream.give(.revoked([StreamBench.zero], lost: false))
      try await waitUntil("the commit is held") { gate.arrivals == 1 }
      #expect(stream.released.isEmpty)
      gate.open()
      try await waitUntil("the partition was let go") { !stream.released.isEmpty }
      #expect(stream.committed == [StreamBench.zero: 1])
    }
    #expect(bench.stored().positions == [StreamBench.zero: 1])
  }

  @Test func `a topic that was made anew is held and not taken for old records`() async throws {
    let bench = StreamBench()
    try await bench.bench.memory.commit(
      WarehouseCommit(advances: [StreamAdvance(partition: StreamBench.zero, from: nil, next: 40)]))
    try await bench.running { _, membership in
      let stream = try await membership(0)
      stream.give(.assigned([StreamBench.zero, StreamBench.one]))
      stream.give([StreamBench.record(1)], of: StreamBench.zero, from: 0)
      stream.give([StreamBench.record(2)], of: StreamBench.one, from: 0)
      try await waitUntil("the other was committed") { stream.committed[StreamBench.one] == 1 }
      #expect(stream.held == [StreamBench.zero])
      #expect(stream.committed[StreamBench.zero] == nil)
    }
    #expect(bench.stored().eventIDs(of: "clicks") == ["kafka:clicks/1/0"])
  }

  @Test func `who waits for an offset is told when it is stored and online`() async throws {
    let gate = IngestGate()
    let bench = StreamBench { await gate.pass() }
    try await bench.running { ingest, membership in
      let stream = try await membership(0)
      stream.give(.assigned([StreamBench.zero]))
      stream.give([StreamBench.record(1)], of: StreamBench.zero, from: 0)
      async let applied: Void = ingest.applied.wait(
        for: [StreamOffset(partition: StreamBench.zero, next: 1)])
      try await waitUntil("the commit is held") { gate.arrivals == 1 }
      #expect(ingest.applied.position(of: StreamBench.zero) == nil)
      gate.open()
      try await applied
      #expect(bench.bench.applied.count == 1)
    }
  }
}

@Suite struct BareFeatureValueTests {
  static let source = SourceDefinition(
    name: "clicks", eventTime: "at",
    columns: [
      ColumnDefinition(name: "origin", type: .string),
      ColumnDefinition(name: "dest", type: .int64),
      ColumnDefinition(name: "clicks", type: .double),
      ColumnDefinition(name: "note", type: .string),
    ], kafka: KafkaDefinition(topic: "clicks"))

  static let views = [
    ViewDefinition(
      name: "routes", entity: "route", source: "clicks",
      features: [
        FeatureDefinition(
          name: "clicks", kind: .latest(column: "clicks", ttl: nil), type: .double),
        FeatureDefinition(name: "note", kind: .latest(column: "note", ttl: nil), type: .string),
      ]),
    ViewDefinition(
      name: "origins", entity: "origin", source: "clicks",
      features: [
        FeatureDefinition(
          name: "clicks", kind: .latest(column: "clicks", ttl: nil), type: .double)
      ]),
  ]

  private func ingested(_ records: [String]) async throws -> MemoryWarehouse.Contents {
    let bench = StreamBench(
      source: Self.source, views: Self.views,
      entities: [
        EntityDefinition(name: "route", key: ["origin", "dest"]),
        EntityDefinition(name: "origin", key: ["origin"]),
      ])
    try await bench.running { _, membership in
      let stream = try await membership(0)
      stream.give(.assigned([StreamBench.zero]))
      stream.give(records, of: StreamBench.zero, from: 0)
      try await waitUntil("all was committed") {
        stream.committed[StreamBench.zero] == Int64(records.count)
      }
    }
    return bench.stored()
  }

  private func value(_ entity: String, _ feature: String, _ value: String) -> String {
    #"{"entity_id": \#(entity), "feature_name": "\#(feature)", "value": \#(value), "event_timestamp": "2026-01-01T00:00:00Z"}"#
  }

  @Test func `a bare value becomes an event with its key, column and time`() async throws {
    let stored = try await ingested([
      value(#""user_123""#, "origins.clicks", "42.5"), value(#""V\\|IE|7""#, "routes.clicks", "1"),
      value(#""VIE|7""#, "note", "null"),
    ])
    #expect(stored.quarantined == [])
    let batch = try #require(stored.events(of: "clicks").first)
    #expect(batch["origin"]?.values == .string(["user_123", "V|IE", "VIE"]))
    #expect((0..<3).map { batch["dest"]?[$0] } == [.null, .int64(7), .int64(7)])
    #expect((0..<3).map { batch["clicks"]?[$0] } == [.double(42.5), .double(1), .null])
    // The third observed a null note, the others observed no note.
    #expect(batch["note"]?.presence == [2, 2, 1])
    #expect(batch["dest"]?.presence == [2, 0, 0])
    #expect(batch.eventTimestamps == [Int64](repeating: 1_767_225_600_000_000, count: 3))
  }

  @Test func `a bare value that cannot be placed says why and is kept as it came`() async throws {
    let records = [
      value(#""a""#, "clicks", "1"), value(#""a""#, "origins.clcks", "1"),
      value(#""a""#, "routes.clicks", "1"), value("1.5", "origins.clicks", "1"),
      value(#""a""#, "origins.clicks", #""x""#),
      #"{"entity_id": "a", "feature_name": "note", "event_timestamp": "2026-01-01T00:00:00Z"}"#,
    ]
    let stored = try await ingested(records)
    #expect(stored.events(of: "clicks").isEmpty)
    #expect(stored.quarantined.map(\.record) == records)
    for (record, part) in zip(
      stored.quarantined,
      [
        "several views (routes, origins)", "did you mean 'origins.clicks'?",
        "has 1 parts, but the key of 'route' has 2", "neither a string nor a whole number",
        "column 'clicks'", "no 'value'",
      ])
    {
      #expect(record.reason.contains(part), "\(record.reason)")
    }
  }
}
