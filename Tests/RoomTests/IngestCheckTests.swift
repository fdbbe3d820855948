import Core
import Features
import TestKit
import Testing

@Suite struct IngestCheckTests {
  static func source(_ checks: [ColumnCheck]) -> SourceDefinition {
    SourceDefinition(
      name: "orders", eventTime: "at", eventID: "id",
      columns: [
        ColumnDefinition(name: "customer", type: .int64),
        ColumnDefinition(name: "code", type: .string),
        ColumnDefinition(name: "amount", type: .double),
      ], checks: checks)
  }

  static func parsed(_ checks: [ColumnCheck], _ records: [String]) throws -> ValidatedRows {
    var parser = RecordParser(source: source(checks), origin: .once(token: "t"))
    try parser.append(lines: Array(records.joined(separator: "\n").utf8), first: 1)
    return parser.finishRows()
  }

  /// The same rows by way of a file's columns.
  static func validated(
    _ checks: [ColumnCheck], codes: [String], amounts: [Double]
  ) throws -> ValidatedRows {
    var validator = Validator(
      source: source(checks), origin: .file(name: "f.parquet", digest: "0123456789abcdef"))
    return try validator.validate(
      RawRows(
        columns: [
          Column(name: "at", values: .timestamp(codes.indices.map { Int64($0) })),
          Column(name: "customer", values: .int64(codes.indices.map { Int64($0) })),
          Column(name: "code", values: .string(codes)),
          Column(name: "amount", values: .double(amounts)),
        ], rowNumbers: codes.indices.map { Int64($0) + 1 }))
  }

  static func record(_ number: Int, code: String, amount: Double = 1) -> String {
    #"{"id": "\#(number)", "at": "2026-01-01T00:00:00Z", "customer": \#(number), "code": "\#(code)", "amount": \#(amount)}"#
  }

  static let faults: [(check: ColumnCheck, reason: String, kind: QuarantineKind, name: String)] = [
    (
      ColumnCheck(column: "code", allowed: ["A", "B"]), "column 'code': 'X' is none of A, B", .set,
      "code.in"
    ),
    (
      ColumnCheck(column: "code", regex: "[A-C]"), "column 'code': 'X' does not match [A-C]",
      .regex,
      "code.regex"
    ),
    (
      ColumnCheck(column: "amount", max: 5), "column 'amount': 7 is above the maximum 5", .range,
      "amount.max"
    ),
    (
      ColumnCheck(column: "amount", allowed: ["1", "2.5"]), "column 'amount': 7 is none of 1, 2.5",
      .set,
      "amount.in"
    ),
  ]

  @Test(
    "a record that fails a check is quarantined with reason, kind and id, from JSON and from columns",
    arguments: faults)
  func quarantined(check: ColumnCheck, reason: String, kind: QuarantineKind, name: String) throws {
    let bad = Self.record(2, code: "X", amount: 7)
    let rows = try Self.parsed([check], [Self.record(1, code: "A"), bad])
    #expect(rows.count == 1)
    #expect(rows.quarantined.map(\.reason) == [reason])
    #expect(rows.quarantined.first?.kind == kind)
    #expect(rows.quarantined.first?.record == bad)
    #expect(rows.quarantined.first?.eventID == "2")
    #expect(rows.checkFailures == [name: 1])
    let columns = try Self.validated([check], codes: ["A", "X"], amounts: [1, 7])
    #expect(columns.count == 1)
    #expect(columns.quarantined.map(\.reason) == [reason])
    #expect(columns.checkFailures == [name: 1])
  }

  @Test("on_fail: warn keeps the record and counts the finding")
  func warn() throws {
    let check = ColumnCheck(column: "amount", max: 5, onFail: .warn)
    let records = [1.0, 7, 9].enumerated().map { Self.record($0, code: "A", amount: $1) }
    for rows in [
      try Self.parsed([check], records),
      try Self.validated([check], codes: ["A", "A", "A"], amounts: [1, 7, 9]),
    ] {
      #expect(rows.count == 3)
      #expect(rows.quarantined == [])
      #expect(rows.warnings == ["column 'amount' is above the maximum 5": 2])
      #expect(rows.checkFailures == ["amount.max": 2])
    }
  }

  @Test("a warning about a record that another check keeps out is no warning of a stored event")
  func warnAndQuarantine() throws {
    let rows = try Self.parsed(
      [
        ColumnCheck(column: "amount", max: 5, onFail: .warn),
        ColumnCheck(column: "code", allowed: ["A"]),
      ],
      [Self.record(1, code: "X", amount: 7)])
    #expect(rows.count == 0)
    #expect(rows.warnings == [:])
    #expect(rows.checkFailures == ["amount.max": 1, "code.in": 1])
  }

  @Test("on_fail: stop names the first record that failed")
  func stop() throws {
    let check = ColumnCheck(column: "code", regex: "[A-Z]", onFail: .stop)
    let rows = try Self.parsed(
      [check], [Self.record(1, code: "A"), Self.record(2, code: "b"), Self.record(3, code: "c")])
    #expect(rows.stop?.check == "code.regex")
    #expect(rows.stop?.position == "push record 2")
    #expect(rows.stop?.reason == "column 'code': 'b' does not match [A-Z]")
    let columns = try Self.validated([check], codes: ["A", "b"], amounts: [1, 1])
    #expect(columns.stop?.position == "file f.parquet row 2")
  }

  @Test("a value that cannot be read is quarantined, whatever its checks do")
  func typeFirst() throws {
    let rows = try Self.parsed(
      [ColumnCheck(column: "amount", max: 5, onFail: .stop)],
      [#"{"id": "1", "at": "2026-01-01T00:00:00Z", "amount": "much"}"#])
    #expect(rows.stop == nil)
    #expect(rows.quarantined.first?.kind == .type)
  }

  @Test("a row of a CSV file is kept as a record that is read back once its fault is corrected")
  func csvRecord() throws {
    var validator = Validator(
      source: Self.source([ColumnCheck(column: "amount", min: 0)]),
      origin: .file(name: "f.csv", digest: "0123456789abcdef"))
    let rows = try validator.validate(
      RawRows(
        columns: [
          Column(name: "at", values: .string(["2026-01-01T00:00:00Z"])),
          Column(name: "id", values: .string(["7"])),
          Column(name: "customer", values: .string(["42"])),
          Column(name: "code", values: .string(["1"])),
          Column(name: "amount", values: .string(["-4.50"])),
        ], rowNumbers: [1]))
    let kept = try #require(rows.quarantined.first)
    #expect(
      kept.record
        == #"{"customer":42,"code":"1","amount":-4.5,"at":"2026-01-01T00:00:00Z","id":"7"}"#
        || kept.record
          == #"{"at":"2026-01-01T00:00:00Z","id":"7","customer":42,"code":"1","amount":-4.5}"#
    )
    let again = try Self.parsed([], [kept.record.replacing("-4.5", with: "4.5")])
    #expect(again.count == 1)
    #expect(again.quarantined == [])
    #expect(again.eventIDs == ["7"])
  }
}

@Suite struct UniqueIndexTests {
  private static let seed = EventIDSeed(low: 1, high: 2)

  private func hash(_ text: String) -> EventIDHash { EventIDHash(text, seed: Self.seed) }

  @Test("a value is repeated less than the length away, before and after, and unique at it")
  func boundary() {
    var index = UniqueIndex(within: .seconds(60))
    index.insert(hash("a"), at: 100_000_000)
    for distance: Int64 in [0, 1, 59_999_999, -59_999_999] {
      #expect(index.look(for: hash("a"), at: 100_000_000 + distance) == .repeated)
      #expect(index.look(for: hash("b"), at: 100_000_000 + distance) == .unique)
    }
    for distance: Int64 in [60_000_000, -60_000_000] {
      #expect(index.look(for: hash("a"), at: 100_000_000 + distance) == .unique)
    }
  }

  @Test("it answers like a list of all events, in any order and with removals")
  func oracle() {
    var random = SeededGenerator(seed: 5)
    var index = UniqueIndex(within: .seconds(10))
    var events: [(value: Int, time: Int64)] = []
    for _ in 0..<5_000 {
      let value = Int.random(in: 0..<50, using: &random)
      let time = Int64.random(in: -1_000_000_000..<1_000_000_000, using: &random)
      let expected = events.contains { $0.value == value && abs($0.time - time) < 10_000_000 }
      #expect(index.look(for: hash("\(value)"), at: time) == (expected ? .repeated : .unique))
      if !events.isEmpty, Int.random(in: 0..<4, using: &random) == 0 {
        let gone = events.remove(at: Int.random(in: 0..<events.count, using: &random))
        index.remove(hash("\(gone.value)"), at: gone.time)
      }
      index.insert(hash("\(value)"), at: time)
      events.append((value, time))
    }
  }

  @Test("beyond its bound it forgets the oldest, and says that it does not know")
  func bounded() {
    var index = UniqueIndex(within: .seconds(4), capacity: 100)
    for second in 0..<1_000 { index.insert(hash("\(second)"), at: Int64(second) * 1_000_000) }
    #expect(index.horizon > 800_000_000 && index.horizon < 950_000_000)
    #expect(index.look(for: hash("999"), at: 999_000_000) == .repeated)
    #expect(index.look(for: hash("x"), at: 999_000_000) == .unique)
    #expect(index.look(for: hash("5"), at: 5_000_000) == .unknown)
    #expect(index.look(for: hash("x"), at: index.horizon) == .unknown)
  }
}
