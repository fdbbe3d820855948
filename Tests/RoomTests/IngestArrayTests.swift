import Core
import Features
import Testing

@Suite struct IngestArrayTests {
  static let source = SourceDefinition(
    name: "docs", eventTime: "at", zone: nil,
    columns: [
      ColumnDefinition(name: "v", type: .array(of: .double, length: 2)),
      ColumnDefinition(name: "tags", type: .array(of: .string, length: nil)),
      ColumnDefinition(name: "n", type: .array(of: .int64, length: nil)),
      ColumnDefinition(name: "times", type: .array(of: .timestamp, length: nil)),
    ])

  static func parse(_ members: [String]) throws -> ValidatedRows {
    let lines = members.map { #"{"at": "2026-01-02T03:04:05Z"\#($0.isEmpty ? "" : ", ")\#($0)}"# }
    return try IngestParserTests.parse(lines.joined(separator: "\n"), source)
  }

  @Test func `JSON arrays become cells of array columns`() throws {
    let rows = try Self.parse([
      #""v": [1, -2.5], "tags": ["a", "Zoë"], "n": [], "times": ["1970-01-01T00:00:01Z"]"#,
      #""v": null, "tags": []"#, #""v": ["NaN", 1], "v": [ 3 , 4 ], "n": [1.0, 2]"#,
    ])
    #expect(rows.quarantined.isEmpty, "\(rows.quarantined)")
    let columns = rows.columns
    #expect(columns.map(\.type) == Self.source.columns.map(\.type))
    #expect(
      (0..<3).map { columns[0][$0] } == [
        .list(.double([1, -2.5])), .null, .list(.double([3, 4])),
      ])
    #expect(columns[0].presence == [0, 1, 0])
    #expect(
      (0..<3).map { columns[1][$0] } == [.list(.string(["a", "Zoë"])), .list(.string([])), .null])
    #expect(columns[1].presence == [0, 0, 2])
    #expect(columns[2][2] == .list(.int64([1, 2])))
    #expect(columns[3][0] == .list(.timestamp([1_000_000])))
  }

  @Test(arguments: [
    (#""v": [1, null]"#, "column 'v': [1, null] has a null element"),
    (#""v": [1]"#, "column 'v': [1] has 1 element, but is declared double[2]"),
    (#""v": [1, 2, 3]"#, "has 3 elements, but is declared double[2]"),
    (#""v": [1, "x"]"#, #"[1, "x"] is not double[2] (an array of 2 double elements)"#),
    (#""v": 1"#, "column 'v': 1 is not double[2] (an array of 2 double elements)"),
    (#""tags": "a""#, "is not string[] (an array of string elements)"),
    (#""tags": [["a"]]"#, "is not string[]"), (#""n": [1.5]"#, "is not int64[]"),
    (#""times": ["2026-01-02 03:04:05"]"#, "has a time without a zone"),
    (#""times": ["soon"]"#, "is not timestamp[]"),
  ]) func `an array that is not of its type quarantines the record`(
    member: String, reason: String
  ) throws {
    let rows = try Self.parse([#""tags": ["before"]"#, member, #""tags": ["after"]"#])
    #expect(rows.count == 2)
    #expect(rows.columns[1][0] == .list(.string(["before"])))
    #expect(rows.columns[1][1] == .list(.string(["after"])))
    try #require(rows.quarantined.count == 1)
    #expect(rows.quarantined[0].reason.contains(reason), "\(rows.quarantined[0].reason)")
    #expect(rows.quarantined[0].record.contains(member))
  }

  @Test func `an array of too many elements is quarantined`() throws {
    let many = [String](repeating: "1", count: Limits.arrayElements + 1).joined(separator: ",")
    let rows = try Self.parse(["\"n\": [\(many)]"])
    #expect(rows.quarantined.first?.reason.contains("more than 65536 elements") == true)
  }

  @Test func `text of a file is a JSON array`() throws {
    var validator = Validator(source: Self.source, origin: IngestValidatorTests.origin)
    let at = "2026-01-02T03:04:05Z"
    let rows = try validator.validate(
      IngestValidatorTests.raw([
        IngestValidatorTests.texts("at", [at, at, at, at, at]),
        IngestValidatorTests.texts("v", [" [1, 2] ", nil, "[1, 2", "[1, null]", "1;2"]),
        IngestValidatorTests.texts("tags", [#"["a"]"#, "[]", nil, nil, nil]),
      ]))
    #expect(rows.count == 2)
    #expect(rows.columns[0][0] == .list(.double([1, 2])))
    #expect(rows.columns[0][1] == .null)
    #expect(rows.columns[1][1] == .list(.string([])))
    #expect(rows.columns[2].presence == [2, 2])
    #expect(rows.quarantined.map(\.position) == [3, 4, 5].map { "file f.csv row \($0)" })
    #expect(rows.quarantined[0].reason.contains("elements), as JSON"), "\(rows.quarantined[0])")
    #expect(rows.quarantined[1].reason.contains("null element"))
  }

  @Test func `typed lists of a file are checked and widened`() throws {
    var validator = Validator(source: Self.source, origin: IngestValidatorTests.origin)
    let at = "2026-01-02T03:04:05Z"
    var raw = IngestValidatorTests.raw([
      IngestValidatorTests.texts("at", [at, at, at, at]),
      Column(
        name: "v", type: .array(of: .int64, length: nil),
        [.list(.int64([1, 2])), .null, .list(.int64([3])), .null]),
      Column(
        name: "n", type: .array(of: .double, length: nil),
        [.list(.double([4])), .list(.double([])), .list(.double([1.5])), .null]),
    ])
    raw.brokenLists = ["v": [3: "[1,null]"]]
    let rows = try validator.validate(raw)
    #expect(rows.count == 2)
    #expect(rows.columns[0].type == Self.source.columns[0].type)
    #expect((0..<2).map { rows.columns[0][$0] } == [.list(.double([1, 2])), .null])
    #expect((0..<2).map { rows.columns[2][$0] } == [.list(.int64([4])), .list(.int64([]))])
    #expect(rows.quarantined.map(\.reason).first?.contains("has 1 element") == true)
    #expect(rows.quarantined.last?.reason.contains("null element") == true)
    #expect(rows.quarantined.last?.record.contains(#""v":[1,null]"#) == true)
  }

  @Test func `a list in a file is refused for a column of another type`() throws {
    var validator = Validator(source: Self.source, origin: IngestValidatorTests.origin)
    let raw = IngestValidatorTests.raw([
      IngestValidatorTests.texts("at", ["2026-01-02T03:04:05Z"]),
      Column(name: "tags", type: .array(of: .double, length: nil), [.list(.double([1]))]),
    ])
    let error = #expect(throws: PlatformError.self) { try validator.validate(raw) }
    #expect(error?.message.contains("is double[], but source 'docs' declares string[]") == true)
  }
}
