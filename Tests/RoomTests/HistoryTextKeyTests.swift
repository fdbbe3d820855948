import Core
import Features
import TestKit
import Testing

/// Text keys of every length, those that lie in the table of keys itself and those that do not.
@Suite struct HistoryTextKeyTests {
  private static let snapshot = Snapshot(
    version: 1, definitionsVersion: 1, definitionsDigest: "", projectDirectory: ".",
    project: ProjectDefinition(
      name: "p", entities: [EntityDefinition(name: "name", key: ["n"])],
      sources: [
        SourceDefinition(
          name: "s", eventTime: "at",
          columns: [
            ColumnDefinition(name: "n", type: .string), ColumnDefinition(name: "x", type: .int64),
          ])
      ],
      views: [
        ViewDefinition(
          name: "v", entity: "name", source: "s",
          features: [
            FeatureDefinition(name: "x", kind: .latest(column: "x", ttl: nil), type: .int64)
          ])
      ]), models: [:])

  /// Keys that share long beginnings and ends, of 0 to 40 bytes, with zero bytes among them.
  private static func key(using random: inout SeededGenerator) -> String {
    let count = Int.random(in: 0...40, using: &random)
    var bytes = [UInt8](repeating: UInt8(ascii: "k"), count: count)
    for _ in 0..<min(count, 3) {
      bytes[Int.random(in: 0..<count, using: &random)] =
        [0, 1, UInt8(ascii: "a"), 127].randomElement(using: &random) ?? 0
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test func `every text key finds its own events and no other's`() async throws {
    let seed = UInt64.random(in: 0...1_000_000)
    var random = SeededGenerator(seed: seed)
    let events = (0..<40_000).map { _ in HistoryTextKeyTests.key(using: &random) }
    let asked = (0..<20_000).map { _ in HistoryTextKeyTests.key(using: &random) }
    var newest: [[UInt8]: Int64] = [:]
    for (row, key) in events.enumerated() { newest[Array(key.utf8)] = Int64(row) }
    let rows = (0..<Int64(events.count)).map { $0 }
    let scan = HistoryScan(
      hasAbsentCells: { _ in false },
      stream: { _, body in
        try body(
          ColumnBatch(columns: [
            Column(name: "n", values: .string(events)), Column(name: "x", values: .int64(rows)),
            Column(name: "event_timestamp", values: .timestamp(rows)),
            Column(name: "created_at", values: .timestamp(rows)),
            Column(name: "sequence", values: .int64(rows)),
          ]))
      })
    let set = try await PointInTimeJoin(scan).run(
      spine: ColumnBatch(columns: [
        Column(name: "n", values: .string(asked)),
        Column(name: "t", values: .timestamp(asked.map { _ in 1_000_000 })),
      ]), time: "t", features: [FeatureName(view: "v", feature: "x")], mode: .asCorrected,
      snapshot: Self.snapshot)
    let found = try #require(set.columns["v.x"])
    var known = 0
    for (row, key) in asked.enumerated() {
      let expected = newest[Array(key.utf8)]
      if expected != nil { known += 1 }
      if found[row] != expected.map({ .int64($0) }) ?? .null {
        Issue.record("seed \(seed): \(key.debugDescription) gave \(found[row])")
        return
      }
    }
    #expect(known > 1_000 && known < asked.count)
  }
}
