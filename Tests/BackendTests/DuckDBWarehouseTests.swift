import Core
import Dispatch
import DuckDBBackend
import Foundation
import Synchronization
import Testing

@Suite("DuckDB warehouse")
struct DuckDBWarehouseTests {
  let warehouse: DuckDBWarehouse

  init() async throws {
    warehouse = try DuckDBWarehouse(path: nil, clock: FixedClock())
    try await warehouse.prepare([orders])
  }

  @Test func `what was committed is read back cell by cell`() async throws {
    var batch = orderBatch(5_000)
    batch.columns[2].presence = (0..<5_000).map { UInt8($0 % 7 == 0 ? 1 : 0) }
    try await warehouse.commit(WarehouseCommit(events: [batch]))
    let read = try await table(
      warehouse,
      "SELECT customer, items, amount, gift, shipped_at, event_timestamp, created_at, sequence, event_id, absent "
        + "FROM events_orders ORDER BY sequence")
    #expect(read.count == 5_000)
    #expect(read["customer"]?.values == batch.columns[0].values)
    #expect(read["items"]?.values == batch.columns[1].values)
    #expect(read["amount"]?.presence == batch.columns[2].presence)
    #expect(read["amount"]?[6] == .double(1.5))
    #expect(read["amount"]?[7] == .null)
    #expect(read["gift"]?.values == batch.columns[3].values)
    #expect(read["shipped_at"]?.values == batch.columns[4].values)
    #expect(read["event_timestamp"]?.values == .timestamp(batch.eventTimestamps))
    #expect(read["created_at"]?.values == .timestamp(batch.createdAt))
    #expect(read["sequence"]?.values == .int64(batch.sequences))
    #expect(read["event_id"]?.values == .string(batch.eventIDs))
    #expect(read["absent"]?.presence == [UInt8](repeating: 1, count: 5_000))
  }

  @Test func `an absent cell differs from an observed null`() async throws {
    var batch = orderBatch(4)
    batch.columns[1].presence = [0, 1, 2, 0]
    batch.columns[4].presence = [0, 0, 2, 2]
    try await warehouse.commit(WarehouseCommit(events: [batch]))
    let layout = try await warehouse.eventTable(of: "orders")
    let read = try await table(
      warehouse,
      "SELECT items, \(layout.isAbsent("items")) AS a, \(layout.isAbsent("shipped_at")) AS b, absent "
        + "FROM events_orders ORDER BY sequence")
    #expect(read["items"]?.presence == [0, 1, 1, 0])
    #expect(read["a"]?.values == .bool([false, false, true, false]))
    #expect(read["b"]?.values == .bool([false, false, true, true]))
    #expect(read["absent"]?.values == .string(["", "", "12", "10"]))
  }

  @Test func `a column added later is absent in older rows and in rows of older batches`()
    async throws
  {
    try await warehouse.commit(WarehouseCommit(events: [orderBatch(2)]))
    var wider = orders
    wider.columns.append(ColumnDefinition(name: "coupon", type: .string))
    try await warehouse.prepare([wider])
    var batch = orderBatch(2, from: 10)
    try await warehouse.commit(WarehouseCommit(events: [orderBatch(1, from: 5)]))
    batch.columns.append(Column(name: "coupon", type: .string, [.string("A"), .null]))
    try await warehouse.commit(WarehouseCommit(events: [batch]))
    let layout = try await warehouse.eventTable(of: "orders")
    let absent = try await warehouse.query(
      "SELECT \(layout.isAbsent("coupon")) FROM events_orders ORDER BY sequence", as: Bool.self)
    #expect(absent == [true, true, true, false, false])
    // Once more changes nothing.
    try await warehouse.prepare([wider, orders])
    #expect(try await warehouse.eventTable(of: "orders") == layout)
  }

  @Test func `a changed column type is refused and nothing of the definitions is applied`()
    async throws
  {
    try await warehouse.commit(WarehouseCommit(events: [orderBatch(1)]))
    var changed = orders
    changed.columns[1].type = .string
    let other = SourceDefinition(
      name: "clicks", eventTime: "at", columns: [ColumnDefinition(name: "page", type: .string)])
    let error = await #expect(throws: PlatformError.self) {
      try await warehouse.prepare([other, changed])
    }
    #expect(error?.code == .failedPrecondition)
    #expect(error?.message.contains("'items' is stored as int64") == true)
    await #expect(throws: PlatformError.self) { try await rowCount(warehouse, "events_clicks") }
    try await warehouse.prepare([other])
    #expect(try await rowCount(warehouse, "events_clicks") == 0)
  }

  @Test func `events for a source without a table are refused with what to do`() async throws {
    var batch = orderBatch(1)
    batch.source = "ordrs"
    let commit = WarehouseCommit(events: [batch])
    let error = await #expect(throws: PlatformError.self) {
      try await warehouse.commit(commit)
    }
    #expect(error?.code == .failedPrecondition)
    #expect(error?.message.contains("apply the definitions first") == true)
  }

  @Test func `platform rows are matched by name and the rest is null or its default`() async throws
  {
    let logged = ColumnBatch(columns: [
      Column(name: "model_id", values: .string(["churn", "churn"])),
      Column(name: "event_datetime", values: .timestamp([5, 6])),
      Column(name: "feature_values", type: .string, [.string("[1.5, NULL, nan]"), .null]),
      Column(name: "total_us", values: .int64([70, 80])),
    ])
    let records = [
      QuarantinedRecord(source: "orders", record: "{}", reason: "no time", position: "push a 1"),
      QuarantinedRecord(source: "orders", record: "{", reason: "no JSON", position: "push a 2"),
    ]
    try await warehouse.commit(
      WarehouseCommit(quarantined: records, rows: [("model_logs", logged)]))
    let log = try await table(
      warehouse,
      "SELECT model_id, model_result, feature_values[1] AS f, total_us FROM model_logs ORDER BY total_us"
    )
    #expect(log["model_result"]?.presence == [1, 1])
    #expect(log["f"]?[0] == .double(1.5))
    #expect(log["f"]?[1] == .null)
    let kept = try await table(
      warehouse, "SELECT id, reason, status, kind, quarantined_at FROM quarantine ORDER BY id")
    #expect(kept["id"]?.values == .int64([1, 2]))
    #expect(kept["reason"]?.values == .string(["no time", "no JSON"]))
    #expect(kept["status"]?.values == .string(["waiting", "waiting"]))
    #expect(kept["quarantined_at"]?[0] == .timestamp(FixedClock().now))
    let unknown = ColumnBatch(columns: [Column(name: "modle", values: .string(["x"]))])
    let error = await #expect(throws: PlatformError.self) {
      try await warehouse.commit(WarehouseCommit(rows: [("model_logs", unknown)]))
    }
    #expect(error?.message.contains("modle") == true)
  }

  @Test func `a transaction that throws leaves nothing and the writer usable`() async throws {
    struct Unwanted: Error {}
    await #expect(throws: Unwanted.self) {
      try await warehouse.transaction { appender in
        try appender.append(orderBatch(300_000))
        throw Unwanted()
      }
    }
    #expect(try await rowCount(warehouse) == 0)
    let appended = try await warehouse.transaction { appender in
      for part in 0..<10 { try appender.append(orderBatch(5_000, from: part * 5_000)) }
      return 50_000
    }
    #expect(try await rowCount(warehouse) == appended)
  }

  @Test func `readers see the last commit while a transaction is open`() async throws {
    let opened = AsyncStream.makeStream(of: Void.self)
    let goOn = DispatchSemaphore(value: 0)
    async let written: Void = warehouse.transaction { appender in
      try appender.append(orderBatch(10))
      opened.continuation.finish()
      goOn.wait()
    }
    for await _ in opened.stream {}
    let before = try await rowCount(warehouse)
    goOn.signal()
    try await written
    #expect(before == 0)
    #expect(try await rowCount(warehouse) == 10)
  }

  @Test func `only queries run on the readers`() async throws {
    for sql in [
      "DELETE FROM quarantine", "CREATE TABLE x (y INTEGER)", "COPY quarantine TO '/dev/null'",
      "EXPLAIN ANALYZE INSERT INTO labels (model_id, created_at) VALUES ('a', now())",
      "SELECT nextval('quarantine_ids')", "SELECT 1; DROP TABLE labels", "SELCT 1",
    ] {
      let error = await #expect(throws: PlatformError.self, "\(sql)") {
        try await warehouse.stream(sql, []) { _ in }
      }
      #expect(error?.code == .invalidArgument, "\(sql)")
    }
    #expect(try await rowCount(warehouse, "labels") == 0)
  }

  @Test func `parameters of every type are bound`() async throws {
    let read = try await table(
      warehouse,
      "SELECT ?::BOOLEAN AS a, ?::BIGINT AS b, ?::DOUBLE AS c, ?::VARCHAR AS d, ?::TIMESTAMP AS e, ?::BIGINT AS f",
      [
        .bool(true), .int64(-5), .double(0.5), .string("naïve 'quotes'"),
        .timestamp(Timestamp(microseconds: 77)), .null,
      ])
    #expect(
      read.columns.map { $0[0] } == [
        .bool(true), .int64(-5), .double(0.5), .string("naïve 'quotes'"),
        .timestamp(Timestamp(microseconds: 77)), .null,
      ])
    let error = await #expect(throws: PlatformError.self) {
      try await warehouse.stream("SELECT ?", []) { _ in }
    }
    #expect(error?.message.contains("1 parameters, 0 were given") == true)
  }

  @Test func `cancelling ends a running query and the reader serves the next`() async throws {
    let started = AsyncStream.makeStream(of: Void.self)
    let task = Task { [warehouse] in
      try await warehouse.stream("SELECT i FROM range(1000000000000) t(i)", []) { _ in
        started.continuation.finish()
      }
    }
    for await _ in started.stream {}
    task.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
    for _ in 0..<8 {
      #expect(try await warehouse.query("SELECT 1", as: Int.self) == [1])
    }
    let blocked = Task { [warehouse] in
      try await warehouse.query(
        "SELECT count(*) FROM range(1000000) a(i), range(1000000) b(j) WHERE (i * j) % 7 = 3",
        as: Int.self)
    }
    blocked.cancel()
    await #expect(throws: CancellationError.self) { try await blocked.value }
  }

  @Test func `a throwing body ends the query with its error`() async throws {
    struct Enough: Error {}
    await #expect(throws: Enough.self) {
      try await warehouse.stream("SELECT i FROM range(1000000000000) t(i)", []) { _ in
        throw Enough()
      }
    }
  }

  @Test func `the feature table lists observations of latest columns`() async throws {
    #expect(try await rowCount(warehouse, "features_table") == 0)
    var batch = orderBatch(3)
    batch.columns[0] = Column(name: "customer", values: .string(["a", "a|b", "c"]))
    batch.columns[2].presence = [0, 0, 2]
    try await warehouse.commit(WarehouseCommit(events: [batch]))
    let view = ViewDefinition(
      name: "spend", entity: "customer", source: "orders",
      features: [
        FeatureDefinition(
          name: "last_amount", kind: .latest(column: "amount", ttl: nil), type: .double)
      ])
    let layout = ViewLayout(
      view: view, entity: EntityDefinition(name: "customer", key: ["customer"]), source: orders)
    try await warehouse.publishFeatures([layout])
    let read = try await table(
      warehouse,
      "SELECT entity_id, feature_name, value, event_timestamp, created_at FROM features_table ORDER BY event_timestamp"
    )
    #expect(read["entity_id"]?.values == .string(["a", "a\\|b"]))
    #expect(read["feature_name"]?.values == .string(["spend.last_amount", "spend.last_amount"]))
    #expect(read["value"]?.values == .double([0, 0.25]))
    try await warehouse.publishFeatures([])
    #expect(try await rowCount(warehouse, "features_table") == 0)
  }

  /// Texts that differ only in how an accent is written, or in what combines with a bar.
  private static let lookalikes = [
    "\u{E9}", "e\u{301}", "\u{212B}", "\u{C5}", "A\u{30A}", "a|\u{301}", "a\\\u{301}|", "K",
    "\u{212A}",
  ]

  @Test func `the warehouse tells the same texts apart as the keys do`() async throws {
    let texts = Self.lookalikes + Self.lookalikes
    #expect(Set(texts.map { EntityKey.string($0) }).count == Self.lookalikes.count)
    var batch = orderBatch(texts.count)
    batch.columns[0] = Column(name: "customer", values: .string(texts))
    try await warehouse.commit(WarehouseCommit(events: [batch]))
    #expect(
      try await table(warehouse, "SELECT count(DISTINCT customer) AS n FROM events_orders")["n"]?[0]
        == .int64(Int64(Self.lookalikes.count)))
    let (left, right) = ("a.customer", "b.customer")
    let pairs = try await table(
      warehouse,
      "SELECT \(left) AS a, \(right) AS b, \(left) = \(right) AS same FROM events_orders a, events_orders b"
    )
    let columns = ["a": pairs["a"], "b": pairs["b"]]
    let same = try Expression.parse("a = b").evaluate(count: pairs.count) { columns[$0] ?? nil }
    #expect(pairs.count == texts.count * texts.count && same.values == pairs["same"]?.values)
  }

  @Test func `the feature table writes keys as the platform does`() async throws {
    var batch = orderBatch(Self.lookalikes.count)
    batch.columns[0] = Column(name: "customer", values: .string(Self.lookalikes))
    try await warehouse.commit(WarehouseCommit(events: [batch]))
    let view = ViewDefinition(
      name: "spend", entity: "customer", source: "orders",
      features: [
        FeatureDefinition(
          name: "last_amount", kind: .latest(column: "amount", ttl: nil), type: .double)
      ])
    let layout = ViewLayout(
      view: view, entity: EntityDefinition(name: "customer", key: ["customer"]), source: orders)
    try await warehouse.publishFeatures([layout])
    let read = try await table(
      warehouse, "SELECT entity_id FROM features_table ORDER BY event_timestamp")
    let written = Self.lookalikes.map { EntityKey.string($0).description }
    #expect(read["entity_id"]?.values == .string(written))
  }

  @Test func `statements on the writer take parameters and say what failed`() async throws {
    try await warehouse.commit(WarehouseCommit(events: [orderBatch(100)]))
    try await warehouse.execute("DELETE FROM events_orders WHERE items < ?", [.int64(40)])
    #expect(try await rowCount(warehouse) == 60)
    let error = await #expect(throws: PlatformError.self) {
      try await warehouse.execute("DELETE FROM events_ordes", [])
    }
    #expect(error?.message.contains("events_ordes") == true)
  }

  @Test func `many readers and one writer at once all finish`() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for part in 0..<20 {
        group.addTask {
          try await warehouse.commit(WarehouseCommit(events: [orderBatch(50, from: part * 50)]))
        }
        group.addTask { _ = try await rowCount(warehouse) }
      }
      try await group.waitForAll()
    }
    #expect(try await rowCount(warehouse) == 1_000)
  }
}
