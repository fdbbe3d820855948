import Core
import Features
import Testing

/// What a spine must be, and what the join makes of one that is not.
@Suite struct HistorySpineTests {
  private static let snapshot = Snapshot(
    version: 1, definitionsVersion: 1, definitionsDigest: "", projectDirectory: ".",
    project: ProjectDefinition(
      name: "p", entities: [EntityDefinition(name: "customer", key: ["customer_id"])],
      sources: [
        SourceDefinition(
          name: "orders", eventTime: "at",
          columns: [
            ColumnDefinition(name: "customer_id", type: .int64),
            ColumnDefinition(name: "amount", type: .double),
          ])
      ],
      views: [
        ViewDefinition(
          name: "spend", entity: "customer", source: "orders",
          features: [
            FeatureDefinition(
              name: "last", kind: .latest(column: "amount", ttl: nil), type: .double),
            FeatureDefinition(
              name: "orders_1d",
              kind: .window(WindowDefinition(function: .count, column: nil, length: .days(1))),
              type: .int64),
            FeatureDefinition(
              name: "known",
              kind: .derived(.call("coalesce", [.name("last"), .literal(.double(-1))])),
              type: .double),
          ])
      ]), models: [:])

  /// One order: customer 7 at 1,000 µs.
  private static let scan = HistoryScan(
    hasAbsentCells: { _ in false },
    stream: { _, body in
      try body(
        ColumnBatch(columns: [
          Column(name: "customer_id", values: .int64([7])),
          Column(name: "amount", values: .double([12.5])),
          Column(name: "event_timestamp", values: .timestamp([1_000])),
          Column(name: "created_at", values: .timestamp([1_000])),
          Column(name: "sequence", values: .int64([1])),
        ]))
    })

  private static let all = ["last", "orders_1d", "known"].map {
    FeatureName(view: "spend", feature: $0)
  }

  private func join(
    _ spine: [Column], features: [FeatureName] = all
  ) async throws -> TrainingSet {
    try await PointInTimeJoin(Self.scan).run(
      spine: ColumnBatch(columns: spine), time: "t", features: features, mode: .asCorrected,
      snapshot: Self.snapshot)
  }

  private func refusal(_ spine: [Column], features: [FeatureName] = all) async -> PlatformError? {
    await #expect(throws: PlatformError.self) { _ = try await join(spine, features: features) }
  }

  private let time = Column(name: "t", values: .timestamp([1_000, 999]))
  private let key = Column(name: "customer_id", values: .int64([7, 7]))

  @Test func `an event is seen at its own microsecond and not before`() async throws {
    let set = try await join([key, time])
    #expect(set.columns["spend.last"]?[0] == .double(12.5))
    #expect(set.columns["spend.last"]?[1] == .null)
    #expect(set.columns["spend.orders_1d"]?[0] == .int64(1))
    #expect(set.columns["spend.orders_1d"]?[1] == .int64(0))
    #expect(set.report == TrainingSet.Report(rows: 2, nullKeyOrTime: 0, eventsRead: 1))
  }

  @Test func `rows without a key or a time have nulls throughout and are counted`() async throws {
    let key = Column(name: "customer_id", values: .int64([7, 0, 7]), presence: [0, 1, 0])
    let time = Column(name: "t", values: .timestamp([0, 2_000, 2_000]), presence: [1, 0, 0])
    let set = try await join([key, time])
    for feature in Self.all {
      #expect(set.columns[feature.description]?[0] == .null)
      #expect(set.columns[feature.description]?[1] == .null)
      #expect(set.columns[feature.description]?[2].isNull == false)
    }
    #expect(set.report.nullKeyOrTime == 2)
    #expect(set.columns.columns[0] == key, "the spine's own columns are as they were")
  }

  @Test func `whole doubles are keys, as data frames write them, and NaN is none`() async throws {
    let set = try await join([
      Column(name: "customer_id", values: .double([7, .nan])),
      Column(name: "t", values: .timestamp([2_000, 2_000])),
    ])
    #expect(set.columns["spend.last"]?[0] == .double(12.5))
    #expect(set.report.nullKeyOrTime == 1)
    let error = await refusal([Column(name: "customer_id", values: .double([7.5, 7])), time])
    #expect(error?.message.contains("7.5 in row 1, which is not a whole number") == true)
  }

  @Test func `a missing key column is named with its view and entity`() async {
    let error = await refusal([Column(name: "customer", values: .int64([7, 7])), time])
    #expect(error?.code == .invalidArgument)
    #expect(
      error?.message
        == "view 'spend' is about entity 'customer', whose key column 'customer_id' the spine does not have; did you mean 'customer'?"
    )
  }

  @Test func `a key or time column of another type is refused`() async {
    let text = await refusal([Column(name: "customer_id", values: .string(["7", "7"])), time])
    #expect(text?.message.contains("is string, but as key of entity 'customer'") == true)
    let number = await refusal([key, Column(name: "t", values: .int64([1, 2]))])
    #expect(number?.message.contains("time column 't' is int64, not timestamp") == true)
    let absent = await refusal([key, Column(name: "time", values: .timestamp([1, 2]))])
    #expect(absent?.message.contains("no time column 't'") == true)
  }

  @Test func `a feature that is asked for twice is one column`() async throws {
    let set = try await join([key, time], features: [Self.all[0], Self.all[1], Self.all[0]])
    #expect(
      set.columns.columns.map(\.name) == ["customer_id", "t", "spend.last", "spend.orders_1d"])
  }

  @Test func `a feature that is unknown is refused`() async {
    let unknown = await refusal(
      [key, time], features: [FeatureName(view: "spend", feature: "lost")])
    #expect(unknown?.code == .notFound)
    #expect(unknown?.message.contains("did you mean 'last'") == true)
    let view = await refusal([key, time], features: [FeatureName(view: "spent", feature: "last")])
    #expect(view?.message.contains("did you mean 'spend'") == true)
    let taken = await refusal(
      [key, time, Column(name: Self.all[0].description, values: .int64([1, 2]))],
      features: [Self.all[0]])
    #expect(taken?.message.contains("the spine has a column") == true)
  }

  @Test func `an empty spine has the features' columns and no rows`() async throws {
    let set = try await join([
      Column(name: "customer_id", values: .int64([])), Column(name: "t", values: .timestamp([])),
    ])
    #expect(set.columns.count == 0)
    #expect(set.columns.columns.map(\.name) == ["customer_id", "t"] + Self.all.map(\.description))
  }

  @Test func `a training set's hash tells names, types, nulls and cells apart`() {
    func hash(_ column: Column, _ label: [Double] = [1, 0]) -> String {
      TrainingSetHash.of(ColumnBatch(columns: [column]), label: label, times: [1, 2])
    }
    let base = Column(name: "x", values: .double([1, .nan]))
    let hashes = [
      hash(base), hash(Column(name: "y", values: .double([1, .nan]))),
      hash(Column(name: "x", values: .double([1, 0]))),
      hash(Column(name: "x", values: .double([1, .nan]), presence: [0, 1])),
      hash(Column(name: "x", values: .int64([1, 0]))), hash(base, [0, 1]),
    ]
    #expect(Set(hashes).count == hashes.count)
    #expect(hash(Column(name: "x", values: .double([1, -.nan]))) == hash(base))
    #expect(hashes[0].count == 64)
  }
}
