import Core
import Features
import Testing

@Suite struct IngestParserTests {
  static let orders = SourceDefinition(
    name: "orders", eventTime: "at", eventID: "id",
    columns: [
      ColumnDefinition(name: "customer", type: .string),
      ColumnDefinition(name: "amount", type: .double),
      ColumnDefinition(name: "items", type: .int64),
      ColumnDefinition(name: "gift", type: .bool),
      ColumnDefinition(name: "promised", type: .timestamp),
    ],
    checks: [
      ColumnCheck(column: "customer", required: true),
      ColumnCheck(column: "amount", min: 0, max: 100),
    ])

  static func parse(
    _ body: String, _ source: SourceDefinition = orders, origin: RecordOrigin = .push(client: "web")
  ) throws -> ValidatedRows {
    var parser = RecordParser(source: source, origin: origin)
    try Array(body.utf8).withUnsafeBufferPointer { try parser.append(body: $0, first: 7) }
    return parser.finishRows()
  }

  @Test func `a record becomes a row of typed columns`() throws {
    let rows = try IngestParserTests.parse(
      #"{"at": "2026-01-02T03:04:05.5+01:00", "id": "a1", "customer": "Zo\u00eb \ud83d\ude00", "amount": 12.5, "items": 3, "gift": true, "promised": "2026-01-03 00:00:00Z"}"#
    )
    #expect(rows.eventTimestamps == [micros("2026-01-02T02:04:05.500Z")])
    #expect(rows.eventIDs == ["a1"])
    #expect(
      rows.columns.map { $0[0] } == [
        .string("Zoë 😀"), .double(12.5), .int64(3), .bool(true),
        .timestamp(Timestamp(microseconds: micros("2026-01-03T00:00:00Z"))),
      ])
    #expect(rows.columns.allSatisfy { $0.presence == nil })
    #expect(rows.idsCanRepeat && rows.quarantined.isEmpty && rows.unknownFields == 0)
  }

  @Test func `absent is no observation and null is an observed null`() throws {
    let rows = try IngestParserTests.parse(
      #"{"at": "2026-01-02T03:04:05Z", "customer": "c", "amount": null}"#)
    #expect(rows.columns[1].presence(at: 0) == .null)
    #expect(rows.columns[2].presence(at: 0) == .absent)
    #expect(rows.eventIDs == ["push:web:7"])
  }

  @Test(arguments: [
    "[]", " [ ] ", #"{"at":"2026-01-02T03:04:05Z","customer":"c"}"#,
    #"[{"at":"2026-01-02T03:04:05Z","customer":"c"} , {"at":"2026-01-02T03:04:05Z","customer":"d"}]"#,
    "{\"at\":\"2026-01-02T03:04:05Z\",\"customer\":\"c\"}\n{\"at\":\"2026-01-02T03:04:05Z\",\"customer\":\"d\"}\n",
  ]) func `a body is one record, an array, or lines`(body: String) throws {
    let expected = body.contains("customer") ? (body.contains("\"d\"") ? 2 : 1) : 0
    let rows = try IngestParserTests.parse(body)
    #expect(rows.count == expected)
    #expect(rows.eventIDs == (0..<expected).map { "push:web:\($0 + 7)" })
  }

  @Test func `an element that is no object stops none of the others`() throws {
    let record = #"{"at":"2026-01-02T03:04:05Z","customer":"c"}"#
    let strays = ["5", #""text""#, "null", "true", "[\(record)]"]
    let rows = try IngestParserTests.parse(
      "[\(record), \(strays.joined(separator: ", ")), \(record)]")
    #expect(rows.eventIDs == ["push:web:7", "push:web:13"])
    #expect(rows.quarantined.map(\.record) == strays)
    #expect(
      rows.quarantined.allSatisfy { $0.reason == "not a record: a record is a JSON object" })
    #expect(rows.quarantined.first?.position == "push web sequence 8")
  }

  @Test(arguments: ["5", #""text""#, "null", "[{}, ]", "[{}, 5", "[{} 5]", "[5}]", "{} 5"])
  func `a body that is neither an object nor an array is refused wholly`(body: String) {
    let error = #expect(throws: PlatformError.self) { try IngestParserTests.parse(body) }
    #expect(error?.code == .invalidArgument)
  }

  @Test func `lines above the bound are refused, blank ones not counted`() throws {
    let line = #"{"at":"2026-01-02T03:04:05Z","customer":"c"}"#
    func parse(_ lines: [String]) throws -> ValidatedRows {
      var parser = RecordParser(
        source: IngestParserTests.orders, origin: .push(client: "web"), maximumRows: 3)
      try parser.append(lines: Array(lines.joined(separator: "\n").utf8), first: 1)
      return parser.finishRows()
    }
    let rows = try parse([line, "", "  \r", line, "{oops", ""])
    #expect(rows.count == 2 && rows.quarantined.count == 1)
    let error = #expect(throws: PlatformError.self) { try parse([line, line, "{oops", line]) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.message.contains("more than 3 records in one push") == true)
  }

  @Test func `a repeated member counts with its last value`() throws {
    let rows = try IngestParserTests.parse(
      #"{"at":"2026-01-02T03:04:05Z","customer":"c","items":1,"items":null,"amount":1,"amount":2}"#)
    #expect(rows.columns[2].presence(at: 0) == .null)
    #expect(rows.columns[1][0] == .double(2))
  }

  @Test func `unknown members are counted and ignored`() throws {
    let rows = try IngestParserTests.parse(
      #"{"extra":{"deep":[1,{"x":"}"}]},"at":"2026-01-02T03:04:05Z","customer":"c","more":null}"#)
    #expect(rows.count == 1)
    #expect(rows.unknownFields == 2)
  }

  @Test(arguments: [
    (#""items": 3.0"#, Value.int64(3)), (#""items": 1e3"#, .int64(1_000)),
    (#""items": -9223372036854775808"#, .int64(.min)),
    (#""items": 9223372036854775807"#, .int64(.max)),
  ]) func `whole numbers are whole however written`(member: String, expected: Value) throws {
    let rows = try IngestParserTests.parse(
      "{\"at\":\"2026-01-02T03:04:05Z\",\"customer\":\"c\",\(member)}")
    #expect(rows.columns[2][0] == expected)
  }

  @Test(arguments: [
    "0.1", "-0", "123456789.123456789", "1e-7", "99.99999999999999", "1.7976931348623157e308",
    "5e-324", "0.30000000000000004", "9007199254740993", "1e23", "12345678901234567890.5", "1E+2",
  ]) func `doubles are rounded correctly`(text: String) throws {
    var source = IngestParserTests.orders
    source.checks = []
    let rows = try IngestParserTests.parse(
      "{\"at\":\"2026-01-02T03:04:05Z\",\"amount\":\(text)}", source)
    #expect(rows.columns[1][0] == Double(text).map { .double($0) })
  }

  @Test func `a double may be a named special value`() throws {
    var source = IngestParserTests.orders
    source.checks = []
    let rows = try IngestParserTests.parse(
      #"[{"at":"2026-01-02T03:04:05Z","amount":"NaN"},{"at":"2026-01-02T03:04:05Z","amount":"-Infinity"}]"#,
      source)
    guard case .double(let values) = rows.columns[1].values else { return }
    #expect(values[0].isNaN)
    #expect(values[1] == -.infinity)
  }

  static let faults: [(String, String)] = [
    (#"{"at":"2026-01-02T03:04:05Z","amount":1e999}"#, "column 'amount': 1e999 is not a"),
    (#"{"customer":"c"}"#, "no event time: column 'at' is absent or null"),
    (#"{"at":null,"customer":"c"}"#, "no event time"),
    (#"{"at":"2026-01-02T03:04:05","customer":"c"}"#, "has no zone"),
    (
      #"{"at":"yesterday","customer":"c"}"#,
      #"column 'at': "yesterday" is not a timestamp (ISO 8601"#
    ),
    (
      #"{"at":1767323045000000,"customer":"c"}"#, "column 'at': 1767323045000000 is not a timestamp"
    ),
    (#"{"at":"2026-01-02T03:04:05Z"}"#, "column 'customer' is required"),
    (#"{"at":"2026-01-02T03:04:05Z","customer":5}"#, "column 'customer': 5 is not a string"),
    (
      #"{"at":"2026-01-02T03:04:05Z","customer":"c","amount":"5"}"#,
      "column 'amount': \"5\" is not a double"
    ),
    (
      #"{"at":"2026-01-02T03:04:05Z","customer":"c","amount":-1}"#,
      "column 'amount': -1 is below the minimum 0"
    ),
    (
      #"{"at":"2026-01-02T03:04:05Z","customer":"c","amount":100.5}"#,
      "100.5 is above the maximum 100"
    ),
    (
      #"{"at":"2026-01-02T03:04:05Z","customer":"c","amount":"NaN"}"#,
      "NaN is not a number, which is within no limit"
    ),
    (
      #"{"at":"2026-01-02T03:04:05Z","customer":"c","items":1.5}"#,
      "column 'items': 1.5 is not an int64"
    ),
    (#"{"at":"2026-01-02T03:04:05Z","customer":"c","items":1e30}"#, "is not an int64"),
    (#"{"at":"2026-01-02T03:04:05Z","customer":"c","items":{"n":1}}"#, #"{"n":1} is not an int64"#),
    (#"{"at":"2026-01-02T03:04:05Z","customer":"c","gift":1}"#, "column 'gift': 1 is not a bool"),
    (
      #"{"at":"2026-01-02T03:04:05Z","customer":"c","id":true}"#,
      "event id column 'id' is not a string or a whole number"
    ),
    (#"{"at":"2026-01-02T03:04:05Z","customer":"c","id":""}"#, "event id column 'id' is empty"),
    (#"{"at":"2026-01-02T03:04:05Z","customer":"c","id":"push:x:1"}"#, "begins with 'push:'"),
  ]

  @Test(arguments: faults)
  func `a record that breaks a rule goes to quarantine alone`(record: String, part: String) throws {
    let good = #"{"at":"2026-01-02T03:04:05Z","customer":"good"}"#
    let rows = try IngestParserTests.parse("[\(good),\(record),\(good)]")
    #expect(rows.eventIDs == ["push:web:7", "push:web:9"])
    let bad = try #require(rows.quarantined.first)
    #expect(rows.quarantined.count == 1)
    #expect(bad.reason.contains(part), "\(bad.reason)")
    #expect(bad.record == record)
    #expect(bad.position == "push web sequence 8")
    #expect(rows.faults.values.reduce(0, +) == 1)
  }

  @Test(arguments: [
    "", "5", "nul", "{", "{\"a\"", "{\"a\":}", "{\"a\":1,}", "[{}", "[{},]", "{} x", "{\"a\":01}",
    "{\"a\":1.}", "{\"a\":\"\u{1}\"}", "{\"a\":\"\\x\"}", "{\"a\":\"\\ud800\"}", "{\"a\":tru}",
    "{\"a\":\"", "{'a':1}", "{\"a\":+1}", "{\"a\":.5}", "{\"a\":1e}", "{\"a\":\"\\",
    String(repeating: "{\"a\":[", count: 100),
  ]) func `a body that is not JSON is refused as a whole`(body: String) {
    #expect(throws: PlatformError.self) { try IngestParserTests.parse(body) }
    var parser = RecordParser(source: IngestParserTests.orders, origin: .once(token: "t"))
    Array(body.utf8).withUnsafeBufferPointer { parser.append(record: $0, number: 1) }
    let rows = parser.finishRows()
    #expect(rows.count == 0)
    #expect(rows.quarantined.count == 1)
  }

  @Test func `bytes that are not UTF-8 are refused`() {
    var parser = RecordParser(source: IngestParserTests.orders, origin: .once(token: "t"))
    let bytes = Array(#"{"at":"2026-01-02T03:04:05Z","customer":""#.utf8) + [0xFF, 0x22, 0x7D]
    bytes.withUnsafeBufferPointer { parser.append(record: $0, number: 1) }
    #expect(parser.finishRows().quarantined.first?.reason.contains("not UTF-8") == true)
  }

  @Test func `local times are read by the source's zone`() throws {
    var source = IngestParserTests.orders
    source.zone = "America/New_York"
    source.checks = []
    let rows = try IngestParserTests.parse(
      #"[{"at":"2026-03-08T02:30:00"},{"at":"2026-11-01T01:30:00"},{"at":"2026-07-01T12:00:00Z"}]"#,
      source)
    #expect(
      rows.eventTimestamps == [
        micros("2026-03-08T07:30:00Z"), micros("2026-11-01T05:30:00Z"),
        micros("2026-07-01T12:00:00Z"),
      ])
  }

  @Test func `a date is its midnight where the source has a zone, and lacks one elsewhere`() throws
  {
    var source = IngestParserTests.orders
    source.checks = []
    let body = #"{"at":"2026-07-01"}"#
    #expect(
      try IngestParserTests.parse(body, source).quarantined.first?.reason.contains("has no zone")
        == true)
    source.zone = "America/New_York"
    #expect(
      try IngestParserTests.parse(body, source).eventTimestamps == [micros("2026-07-01T04:00:00Z")])
    #expect(try IngestParserTests.parse(#"{"at":"2026-07-0"}"#, source).count == 0)
  }

  @Test func `the event time may be a column too`() throws {
    let source = SourceDefinition(
      name: "s", eventTime: "at", columns: [ColumnDefinition(name: "at", type: .timestamp)])
    let rows = try IngestParserTests.parse(#"{"at":"2026-01-02T03:04:05Z"}"#, source)
    #expect(rows.columns[0][0] == .timestamp(Timestamp(microseconds: rows.eventTimestamps[0])))
  }

  @Test
  func `a push without an id is kept out where the source names one, unless its number makes one`()
    throws
  {
    let body = #"{"at":"2026-01-02T03:04:05Z","id":null,"customer":"c"}"#
    let lost = try IngestParserTests.parse(body, origin: .once(token: "t"))
    #expect(lost.count == 0 && lost.quarantined.map(\.kind) == [.eventID])
    #expect(lost.quarantined[0].reason.contains("event id column 'id' is absent or null"))
    #expect(lost.quarantined[0].eventID == "once:t:7")
    let partition = StreamPartition(topic: "orders", partition: 2)
    for (origin, id) in [
      (RecordOrigin.push(client: "web"), "push:web:7"), (.kafka(partition), "kafka:orders/2/7"),
      (.file(name: "a.jsonl", digest: "00ff"), "file:00ff:7"),
    ] {
      #expect(try IngestParserTests.parse(body, origin: origin).eventIDs == [id])
    }
    var unnamed = IngestParserTests.orders
    unnamed.eventID = nil
    #expect(try IngestParserTests.parse(body, unnamed, origin: .once(token: "t")).count == 1)
    // What is produced has a place in a partition by which it is known.
    var produced = IngestParserTests.orders
    produced.kafka = KafkaDefinition(topic: "orders", push: .produce)
    #expect(try IngestParserTests.parse(body, produced, origin: .once(token: "t")).count == 1)
  }

  @Test func `a request is bounded`() {
    var parser = RecordParser(
      source: IngestParserTests.orders, origin: .once(token: "t"), maximumRows: 2)
    let body = Array("{}\n{}\n{}".utf8)
    #expect(throws: PlatformError.self) {
      try body.withUnsafeBufferPointer { try parser.append(body: $0) }
    }
  }
}

/// The microseconds of a time's text; 0 where it is none, which no test expects.
private func micros(_ text: String) -> Int64 {
  (try? Timestamp(iso8601: text).microseconds) ?? 0
}
