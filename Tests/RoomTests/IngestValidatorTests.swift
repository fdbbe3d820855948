import Core
import Features
import Testing

@Suite struct IngestValidatorTests {
  static let origin = RecordOrigin.file(name: "f.csv", digest: "0123456789abcdef0123")

  static func source(
    zone: String? = nil, eventID: String? = nil, checks: [ColumnCheck] = []
  ) -> SourceDefinition {
    SourceDefinition(
      name: "trips", eventTime: "at", zone: zone, eventID: eventID,
      columns: [
        ColumnDefinition(name: "plate", type: .string), ColumnDefinition(name: "km", type: .double),
        ColumnDefinition(name: "stops", type: .int64), ColumnDefinition(name: "paid", type: .bool),
      ], checks: checks)
  }

  static func texts(_ name: String, _ cells: [String?]) -> Column {
    Column(name: name, type: .string, cells.map { $0.map { .string($0) } ?? .null })
  }

  static func raw(_ columns: [Column], localTimes: Set<String> = []) -> RawRows {
    RawRows(
      columns: columns, rowNumbers: (0..<columns[0].count).map { Int64($0 + 1) },
      localTimes: localTimes)
  }

  @Test func `text becomes typed columns`() throws {
    var validator = Validator(
      source: IngestValidatorTests.source(), origin: IngestValidatorTests.origin)
    let rows = try validator.validate(
      IngestValidatorTests.raw([
        IngestValidatorTests.texts("at", ["2026-01-02T03:04:05Z", "2026-01-02 04:04:05+01:00"]),
        IngestValidatorTests.texts("plate", ["A", nil]),
        IngestValidatorTests.texts("km", [" 1.5", "-inf"]),
        IngestValidatorTests.texts("stops", ["3.0", nil]),
        IngestValidatorTests.texts("paid", ["TRUE", "0"]),
      ]))
    #expect(rows.eventTimestamps == [1_767_323_045_000_000, 1_767_323_045_000_000])
    #expect(rows.eventIDs == ["file:0123456789abcdef:1", "file:0123456789abcdef:2"])
    #expect(!rows.idsCanRepeat)
    #expect(rows.columns.map { $0[0] } == [.string("A"), .double(1.5), .int64(3), .bool(true)])
    #expect(rows.columns.map { $0[1] } == [.null, .double(-.infinity), .null, .bool(false)])
    #expect(rows.columns[0].presence(at: 1) == .null)
  }

  @Test func `a column that the file has not is absent`() throws {
    var validator = Validator(
      source: IngestValidatorTests.source(), origin: IngestValidatorTests.origin)
    let rows = try validator.validate(
      IngestValidatorTests.raw([IngestValidatorTests.texts("at", ["2026-01-02T03:04:05Z"])]))
    #expect(rows.columns.map { $0.presence(at: 0) } == [.absent, .absent, .absent, .absent])
    #expect(rows.columns.map(\.type) == [.string, .double, .int64, .bool])
  }

  @Test func `bad rows are quarantined with position, record and reason`() throws {
    var validator = Validator(
      source: IngestValidatorTests.source(checks: [
        ColumnCheck(column: "km", required: true, min: 0)
      ]),
      origin: IngestValidatorTests.origin)
    let at = "2026-01-02T03:04:05Z"
    let rows = try validator.validate(
      IngestValidatorTests.raw([
        IngestValidatorTests.texts("at", [at, nil, "2026-01-02 03:04:05", at, at, at, at]),
        IngestValidatorTests.texts("plate", ["ok", "b", "c", "d", "e\"", "f", "ok"]),
        IngestValidatorTests.texts("km", ["1", "2", "3", "x", "-5", nil, "7"]),
        IngestValidatorTests.texts("stops", ["1", "1", "1", "1", "1", "1", "1"]),
        IngestValidatorTests.texts("paid", ["t", "t", "t", "t", "t", "t", "f"]),
      ]))
    #expect(rows.count == 2)
    #expect(rows.columns[0][1] == .string("ok"))
    #expect(rows.eventIDs == ["file:0123456789abcdef:1", "file:0123456789abcdef:7"])
    #expect(rows.quarantined.map(\.position) == (2...6).map { "file f.csv row \($0)" })
    let reasons = rows.quarantined.map(\.reason)
    #expect(reasons[0] == "no event time: column 'at' is absent or null")
    #expect(reasons[1].contains("'2026-01-02 03:04:05' has no zone"))
    #expect(reasons[2] == "column 'km': 'x' is not a double (a number)")
    #expect(reasons[3] == "column 'km': -5 is below the minimum 0")
    #expect(reasons[4] == "column 'km' is required, but absent or null")
    #expect(rows.quarantined[3].record.contains(#""plate":"e\"","km":-5.0"#))
    #expect(rows.faults.count == 5)
  }

  @Test func `typed columns pass as they are`() throws {
    var validator = Validator(
      source: IngestValidatorTests.source(checks: [ColumnCheck(column: "km", max: 10)]),
      origin: IngestValidatorTests.origin)
    let columns = [
      Column(name: "at", values: .timestamp([5, 6, 7])),
      Column(name: "plate", values: .string(["a", "b", "c"])),
      Column(name: "km", values: .int64([1, 2, 11])),
      Column(name: "stops", values: .double([1, 2.5, 3])),
      Column(name: "paid", values: .bool([true, false, true])),
    ]
    let rows = try validator.validate(IngestValidatorTests.raw(columns))
    #expect(rows.eventTimestamps == [5])
    #expect(rows.columns[1] == Column(name: "km", values: .double([1])))
    #expect(rows.columns[2] == Column(name: "stops", values: .int64([1])))
    #expect(
      rows.quarantined.map(\.reason) == [
        "column 'stops': 2.5 is not an int64 (a whole number of 64 bits)",
        "column 'km': 11 is above the maximum 10",
      ])
  }

  @Test func `NaN is stored, but fails a limit`() throws {
    let columns = [
      Column(name: "at", values: .timestamp([5, 6])),
      Column(name: "km", values: .double([.nan, 1])),
    ]
    var free = Validator(source: IngestValidatorTests.source(), origin: IngestValidatorTests.origin)
    #expect(try free.validate(IngestValidatorTests.raw(columns)).count == 2)
    var checked = Validator(
      source: IngestValidatorTests.source(checks: [ColumnCheck(column: "km", max: 10)]),
      origin: IngestValidatorTests.origin)
    #expect(try checked.validate(IngestValidatorTests.raw(columns)).eventTimestamps == [6])
  }

  @Test func `local times need the source's zone`() throws {
    // 2026-03-08T02:30 on the clock, a time that New York skipped.
    let columns = [Column(name: "at", values: .timestamp([1_772_937_000_000_000]))]
    var without = Validator(
      source: IngestValidatorTests.source(), origin: IngestValidatorTests.origin)
    let refusal = #expect(throws: PlatformError.self) {
      try without.validate(IngestValidatorTests.raw(columns, localTimes: ["at"]))
    }
    #expect(refusal?.message.contains("declare `zone`") == true)
    var with = Validator(
      source: IngestValidatorTests.source(zone: "America/New_York"),
      origin: IngestValidatorTests.origin)
    let rows = try with.validate(IngestValidatorTests.raw(columns, localTimes: ["at"]))
    #expect(Timestamp(microseconds: rows.eventTimestamps[0]).description == "2026-03-08T07:30:00Z")
  }

  @Test func `a column of a foreign type refuses the file`() {
    var validator = Validator(
      source: IngestValidatorTests.source(), origin: IngestValidatorTests.origin)
    let refusal = #expect(throws: PlatformError.self) {
      try validator.validate(
        IngestValidatorTests.raw([Column(name: "at", values: .int64([1_772_937_000_000_000]))]))
    }
    #expect(refusal?.message.contains("'at' of the file is int64") == true)
  }

  @Test func `event ids are the column's text or the row's place`() throws {
    var validator = Validator(
      source: IngestValidatorTests.source(eventID: "id"), origin: IngestValidatorTests.origin)
    let rows = try validator.validate(
      IngestValidatorTests.raw([
        Column(name: "at", values: .timestamp([5, 6, 7])),
        IngestValidatorTests.texts("id", ["x", nil, "file:1"]),
      ]))
    #expect(rows.eventIDs == ["x", "file:0123456789abcdef:2"])
    #expect(rows.idsCanRepeat)
    #expect(rows.quarantined.first?.reason.contains("begins with 'file:'") == true)
  }

  @Test func `lines that were no records are quarantined too`() throws {
    var validator = Validator(
      source: IngestValidatorTests.source(), origin: IngestValidatorTests.origin)
    var raw = IngestValidatorTests.raw([Column(name: "at", values: .timestamp([5]))])
    raw.rejects = [RejectedLine(rowNumber: 9, text: "a,b,c", reason: "3 fields instead of 5")]
    let rows = try validator.validate(raw)
    #expect(rows.count == 1)
    #expect(
      rows.quarantined == [
        QuarantinedRecord(
          source: "trips", record: "a,b,c", reason: "not a record: 3 fields instead of 5",
          kind: .malformed, position: "file f.csv row 9", eventID: "file:0123456789abcdef:9")
      ])
  }
}
