import Core
import Testing

@Suite struct ArrayValueTests {
  static let tags = ColumnType.array(of: .string, length: nil)
  static let pair = ColumnType.array(of: .double, length: 2)

  static func cells(_ column: Column) -> [Value] { (0..<column.count).map { column[$0] } }

  @Test(arguments: [
    ("bool", ColumnType.bool), ("double[384]", .array(of: .double, length: 384)),
    ("string[]", .array(of: .string, length: nil)),
    ("timestamp[8192]", .array(of: .timestamp, length: 8_192)),
  ]) func `a type is written as text and read back`(text: String, type: ColumnType) {
    #expect(ColumnType(rawValue: text) == type)
    #expect(type.rawValue == text)
  }

  @Test(arguments: [
    "", "float", "double[", "double]", "double[]]", "double[0]", "double[-1]", "double[8193]",
    "double[1][2]", "double[3] ", "double[ 3]", "double[٣]", "double[99999999999999999999]", "[3]",
  ]) func `other text is no type`(text: String) { #expect(ColumnType(rawValue: text) == nil) }

  @Test func `a cell of another type or length becomes null`() {
    var column = Column(name: "v", values: ColumnValues(empty: Self.pair))
    column.append(.list(.double([1, 2])))
    column.append(.list(.int64([3, 4])))
    column.append(.list(.double([1])))
    column.append(.list(.string(["a", "b"])))
    column.append(.double(1))
    column.append(.null, absent: true)
    #expect(
      Self.cells(column) == [
        .list(.double([1, 2])), .list(.double([3, 4])), .null, .null, .null, .null,
      ])
    #expect(column.presence == [0, 0, 1, 1, 1, 2])
    #expect(column.type == Self.pair)
  }

  @Test func `rows are gathered and columns joined with their nulls`() {
    let words = Column(
      name: "t", type: Self.tags, [.list(.string(["a", "b"])), .null, .list(.string([]))])
    let more = words.gather([2, 0, 0, 1])
    #expect(
      Self.cells(more) == [
        .list(.string([])), .list(.string(["a", "b"])), .list(.string(["a", "b"])), .null,
      ])
    var joined = words
    joined.append(contentsOf: more)
    #expect(Self.cells(joined) == Self.cells(words) + Self.cells(more))
    joined.append(contentsOf: Column(name: "t", values: .int64([1])))
    #expect(joined[7] == .null)
    #expect(Column(name: "t", nulls: 2, of: Self.pair).gather([1]).presence == [1])
  }

  @Test func `arrays are JSON arrays both ways`() throws {
    func json(_ text: String) throws -> Value? { try JSON(parsing: Array(text.utf8)).value }
    #expect(try json("[1, 2]") == .list(.int64([1, 2])))
    #expect(try json("[1, 2.5]") == .list(.double([1, 2.5])))
    #expect(try json("[1, \"Infinity\"]") == .list(.double([1, .infinity])))
    #expect(try json("[\"a\"]") == .list(.string(["a"])))
    #expect(try json("[true]") == .list(.bool([true])))
    #expect(try json("[]") == .list(.int64([])))
    for text in ["[null]", "[1, \"a\"]", "[[1]]", "[{}]", "{}", "[true, 1]"] {
      #expect(try json(text) == nil, "\(text)")
    }
    var bytes: [UInt8] = []
    JSON.write(.list(.double([1, .nan])), into: &bytes)
    #expect(String(decoding: bytes, as: UTF8.self) == "[1.0,\"NaN\"]")
    #expect(JSON(Value.list(.string(["\"", "b"]))).text == #"["\"","b"]"#)
  }

  @Test func `a given list is read as the declared type where nothing is lost`() {
    #expect(Value.list(.int64([1, 2])).list(as: Self.pair) == .list(.double([1, 2])))
    #expect(Value.list(.int64([])).list(as: Self.tags) == .list(.string([])))
    #expect(
      Value.list(.double([1, 2])).list(as: .array(of: .int64, length: nil))
        == .list(.int64([1, 2])))
    #expect(
      Value.list(.string(["1970-01-01T00:00:01Z"])).list(as: .array(of: .timestamp, length: 1))
        == .list(.timestamp([1_000_000])))
    #expect(Value.list(.double([1.5])).list(as: .array(of: .int64, length: nil)) == nil)
    #expect(Value.list(.double([1])).list(as: Self.pair) == nil)
    #expect(Value.list(.string(["a"])).list(as: .string) == nil)
  }

  @Test func `rows decode into arrays of Swift`() throws {
    struct Row: Decodable, Equatable {
      var v: [Double]
      var t: [String]?
      var n: [Int]
    }
    let batch = ColumnBatch(columns: [
      Column(name: "v", type: Self.pair, [.list(.double([1, 2])), .list(.double([3, 4]))]),
      Column(name: "t", type: Self.tags, [.null, .list(.string(["a"]))]),
      Column(
        name: "n", type: .array(of: .int64, length: nil), [.list(.int64([])), .list(.int64([7]))]),
    ])
    #expect(
      try RowDecoder(batch).decode(Row.self) == [
        Row(v: [1, 2], t: nil, n: []), Row(v: [3, 4], t: ["a"], n: [7]),
      ])
    struct Wrong: Decodable { var t: [Int] }
    #expect(throws: PlatformError.self) { try RowDecoder(batch).decode(Wrong.self, at: 1) }
  }

  // MARK: Expressions

  static let columns: [String: Column] = [
    "v": Column(name: "v", type: pair, [.list(.double([1, 2])), .null]),
    "w": Column(name: "w", type: pair, [.list(.double([3, 4])), .list(.double([5, 6]))]),
    "t": Column(name: "t", type: tags, [.list(.string([])), .null]),
    "b": Column(name: "b", values: .bool([false, true])),
  ]

  @Test(arguments: [
    ("coalesce(v, w)", [Value.list(.double([1, 2])), .list(.double([5, 6]))]),
    ("if(b, v, w)", [.list(.double([3, 4])), .null]),
    ("coalesce(v, null)", [.list(.double([1, 2])), .null]),
    ("len(v)", [.int64(2), .null]), ("len(t) + 1", [.int64(1), .null]),
    ("is_null(v)", [.bool(false), .bool(true)]),
  ]) func `an array is passed on and measured`(text: String, expected: [Value]) throws {
    let expression = try Expression.parse(text)
    let type = try expression.type(given: { Self.columns[$0]?.type }, names: [])
    let column = expression.evaluate(count: 2) { Self.columns[$0] }
    #expect(column.type == type)
    #expect(Self.cells(column) == expected)
  }

  @Test(arguments: [
    ("v + 1", "'+' needs int64 or double, but v is double[2]"),
    ("v = w", "'=' takes no arrays, but v is double[2]"),
    ("t in ('a')", "'in' takes no arrays"), ("max(v, w)", "max needs int64 or double"),
    ("coalesce(v, t)", "t is string[], before it stands double[2]"),
    ("len(b)", "len needs an array, but b is bool"), ("not v", "needs bool"),
    ("v < w", "needs int64 or double or timestamp"), ("hour(t)", "needs timestamp"),
  ]) func `anything else with an array is a type error`(text: String, part: String) throws {
    let expression = try Expression.parse(text)
    let error = #expect(throws: ExpressionError.self) {
      try expression.type(given: { Self.columns[$0]?.type }, names: [])
    }
    #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
  }

  // MARK: Models

  @Test func `an array of one length is taken apart for a model`() {
    let feature = ModelFeature(name: "a.v", origin: .input, type: Self.pair)
    #expect(feature.columnNames == ["a.v[0]", "a.v[1]"])
    let batch = ColumnBatch(columns: [
      Column(name: "x", values: .double([7, 8, 9])),
      Column(
        name: "a.v", type: Self.pair, [.list(.double([1, 2])), .null, .list(.double([3, 4]))]),
    ]).flattened(as: [], missing: MissingPolicy())
    #expect(batch.columns.map(\.name) == ["x", "a.v[0]", "a.v[1]"])
    #expect(Self.cells(batch.columns[1]) == [.double(1), .null, .double(3)])
    #expect(Self.cells(batch.columns[2]) == [.double(2), .null, .double(4)])
    #expect(batch.columns[2].type == .double)
  }
}
