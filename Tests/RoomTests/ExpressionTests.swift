import Core
import Testing

@Suite struct ExpressionTests {
  static let columns: [String: Column] = [
    "i": Column(name: "i", type: .int64, [.int64(7), .int64(-7), .null, .int64(.max)]),
    "d": Column(name: "d", type: .double, [.double(2.5), .double(.nan), .null, .double(-1)]),
    "s": Column(name: "s", type: .string, [.string("AA"), .string(""), .null, .string("it's")]),
    "b": Column(name: "b", type: .bool, [.bool(true), .bool(false), .null, .bool(true)]),
    "t": Column(
      name: "t", type: .timestamp,
      [
        .timestamp(at("2026-03-08T06:59:59Z")), .timestamp(at("2026-03-08T07:00:00Z")), .null,
        .timestamp(at("1969-12-31T23:30:00Z")),
      ]),
    "view.feature": Column(name: "view.feature", type: .double, [1, 2, 3, 4].map { .double($0) }),
  ]
  static let types = columns.mapValues(\.type)

  static func at(_ text: String) -> Timestamp {
    (try? Timestamp(iso8601: text)) ?? Timestamp(microseconds: 0)
  }

  static func rows(_ text: String) throws -> [Value] {
    let expression = try Expression.parse(text)
    let type = try expression.type(given: { types[$0] }, names: types.keys.sorted())
    let column = expression.evaluate(count: 4) { columns[$0] }
    #expect(column.type == type ?? .double, "\(text)")
    return (0..<4).map { column[$0] }
  }

  static let numbers: [(String, [Value])] = [
    ("i + 1", [.int64(8), .int64(-6), .null, .null]),
    ("i * 2 - i", [.int64(7), .int64(-7), .null, .null]),
    ("i / 2", [.double(3.5), .double(-3.5), .null, .double(Double(Int64.max) / 2)]),
    ("i / 0", [.null, .null, .null, .null]),
    ("i % 4", [.int64(3), .int64(-3), .null, .int64(3)]),
    ("i % 0", [.null, .null, .null, .null]),
    ("-i", [.int64(-7), .int64(7), .null, .int64(-.max)]),
    ("i + 0.5", [.double(7.5), .double(-6.5), .null, .double(0x1p63)]),
    ("2 + 3 * 4", [.int64(14), .int64(14), .int64(14), .int64(14)]),
    ("(2 + 3) * 4 - -1", [.int64(21), .int64(21), .int64(21), .int64(21)]),
    ("view.feature * 10", [.double(10), .double(20), .double(30), .double(40)]),
    ("abs(i)", [.int64(7), .int64(7), .null, .int64(.max)]),
    ("round(2.5)", [.double(3), .double(3), .double(3), .double(3)]),
    ("floor(d)", [.double(2), .double(.nan), .null, .double(-1)]),
    ("sqrt(d) > 1.5", [.bool(true), .bool(false), .null, .null]),
    ("log(0)", [.null, .null, .null, .null]),
    ("exp(0)", [.double(1), .double(1), .double(1), .double(1)]),
    ("clip(i, -1, 5)", [.int64(5), .int64(-1), .null, .int64(5)]),
    ("min(i, 3, 5.5)", [.double(3), .double(-7), .null, .double(3)]),
    ("max(i, view.feature)", [.double(7), .double(2), .null, .double(0x1p63)]),
  ]

  @Test(arguments: numbers)
  func `numbers are computed as the language says`(text: String, expected: [Value]) throws {
    expectSame(try ExpressionTests.rows(text), expected, text)
  }

  static let conditions: [(String, [Value])] = [
    ("d = d", [.bool(true), .bool(false), .null, .bool(true)]),
    ("d != d", [.bool(false), .bool(true), .null, .bool(false)]),
    ("d < 3 or d >= 3", [.bool(true), .bool(false), .null, .bool(true)]),
    ("i > 6.5", [.bool(true), .bool(false), .null, .bool(true)]),
    ("3 <= i", [.bool(true), .bool(false), .null, .bool(true)]),
    ("s = 'AA'", [.bool(true), .bool(false), .null, .bool(false)]),
    ("s <> \"it's\"", [.bool(true), .bool(true), .null, .bool(false)]),
    ("s in ('AA', 'it''s')", [.bool(true), .bool(false), .null, .bool(true)]),
    ("s not in ('AA')", [.bool(false), .bool(true), .null, .bool(true)]),
    ("i in (7, null)", [.bool(true), .null, .null, .null]),
    ("b and false", [.bool(false), .bool(false), .bool(false), .bool(false)]),
    ("b and null", [.null, .bool(false), .null, .null]),
    ("b or null", [.bool(true), .null, .null, .bool(true)]),
    ("null and false", [.bool(false), .bool(false), .bool(false), .bool(false)]),
    ("not b", [.bool(false), .bool(true), .null, .bool(false)]),
    ("b = true AND NOT i < 0", [.bool(true), .bool(false), .null, .bool(true)]),
    ("s is null", [.bool(false), .bool(false), .bool(true), .bool(false)]),
    ("s is not null", [.bool(true), .bool(true), .bool(false), .bool(true)]),
    ("1 is null", [.bool(false), .bool(false), .bool(false), .bool(false)]),
    ("t < t", [.bool(false), .bool(false), .null, .bool(false)]),
  ]

  @Test(arguments: conditions)
  func `conditions have three values`(text: String, expected: [Value]) throws {
    expectSame(try ExpressionTests.rows(text), expected, text)
  }

  static let choices: [(String, [Value])] = [
    ("if(b, i, 0)", [.int64(7), .int64(0), .int64(0), .int64(.max)]),
    ("if(b, i, d)", [.double(7), .double(.nan), .null, .double(0x1p63)]),
    ("if(true, s, null)", [.string("AA"), .string(""), .null, .string("it's")]),
    ("if(b, null, 'x')", [.null, .string("x"), .string("x"), .null]),
    ("coalesce(i, 0)", [.int64(7), .int64(-7), .int64(0), .int64(.max)]),
    ("coalesce(null, d, 9)", [.double(2.5), .double(.nan), .double(9), .double(-1)]),
    ("coalesce(s, 'none')", [.string("AA"), .string(""), .string("none"), .string("it's")]),
    ("null", [.null, .null, .null, .null]),
    ("year(t)", [.int64(2026), .int64(2026), .null, .int64(1969)]),
    ("month(t) * 100 + day(t)", [.int64(308), .int64(308), .null, .int64(1231)]),
    ("hour(t)", [.int64(6), .int64(7), .null, .int64(23)]),
    ("hour(t, 'America/New_York')", [.int64(1), .int64(3), .null, .int64(18)]),
    ("minute(t, 'Asia/Kathmandu')", [.int64(44), .int64(45), .null, .int64(0)]),
    ("weekday(t)", [.int64(6), .int64(6), .null, .int64(2)]),
    ("weekday(t, 'Asia/Tokyo')", [.int64(6), .int64(6), .null, .int64(3)]),
  ]

  @Test(arguments: choices)
  func `choices and time parts`(text: String, expected: [Value]) throws {
    expectSame(try ExpressionTests.rows(text), expected, text)
  }

  @Test(arguments: [
    ("", 0, "empty"),
    ("   ", 3, "empty"),
    ("a +", 3, "value is missing before the end"),
    ("a + * b", 4, "value is missing before '*'"),
    ("(a", 0, "not closed"),
    ("a b", 2, "unexpected 'b'"),
    ("a < b < c", 6, "do not chain"),
    ("a ? b", 2, "unexpected character '?'"),
    ("é = 'x'", 0, "unexpected character"),
    ("'é' & b", 4, "write `and`"),
    ("s = 'abc", 4, "no closing quote"),
    ("a.b.c", 3, "one dot"),
    ("12abc", 2, "number ends"),
    ("99999999999999999999", 0, "does not fit"),
    ("1 + 9223372036854775808", 4, "does not fit"),
    ("1e999", 0, "too large"),
    ("a in 3", 5, "parentheses"),
    ("a in ()", 2, "no values"),
    ("a is 3", 5, "null"),
    ("a not 3", 6, "`in (…)`"),
    ("1 + sqr(2)", 4, "did you mean 'sqrt'?"),
    ("clip(1, 2)", 0, "clip(x, low, high)"),
    ("and", 0, "value is missing before `and`"),
    ("a and or b", 6, "value is missing before `or`"),
  ]) func `a syntax error says where it is`(text: String, offset: Int, part: String) {
    do throws(ExpressionError) {
      let expression = try Expression.parse(text)
      Issue.record("\(text) was read as \(expression.text)")
    } catch {
      #expect(error.message.contains(part), "\(error)")
      #expect(error.offset == offset, "\(error)")
    }
  }

  @Test func `depth and length are bounded`() throws {
    let deep = String(repeating: "(", count: 100) + "a" + String(repeating: ")", count: 100)
    #expect(throws: ExpressionError.self) { try Expression.parse(deep) }
    let nots = String(repeating: "not ", count: 100) + "a"
    #expect(throws: ExpressionError.self) { try Expression.parse(nots) }
    let chain = (0..<100).map { "x\($0)" }.joined(separator: " + ")
    #expect(throws: ExpressionError.self) { try Expression.parse(chain) }
    let long = "s = '" + String(repeating: "a", count: Limits.expressionCharacters) + "'"
    #expect(throws: ExpressionError.self) { try Expression.parse(long) }
    let allowed = (0..<60).map { "x\($0)" }.joined(separator: " + ")
    #expect(try Expression.parse(allowed).names.count == 60)
  }

  @Test(arguments: [
    ("j + 1", "unknown name 'j'"),
    ("view.featur + 1", "did you mean 'view.feature'?"),
    ("s + 1", "'+' needs int64 or double, but s is string"),
    ("b * 2", "'*' needs int64 or double, but b is bool"),
    ("i = 'x'", "cannot compare i (int64) with 'x' (string)"),
    ("s < 'x'", "'<' needs int64 or double or timestamp, but s is string"),
    ("i in (1, 'x')", "cannot compare i (int64) with 'x' (string)"),
    ("i and b", "'and' needs bool, but i is int64"),
    ("not i", "'not' needs bool, but i is int64"),
    ("if(i, 1, 2)", "the condition of if needs bool"),
    ("if(b, 1, 'x')", "must be of one type"),
    ("coalesce(s, 1)", "must be of one type"),
    ("hour(i)", "hour needs timestamp, but i is int64"),
    ("hour(t, s)", "the zone of hour"),
    ("hour(t, 'Mars/Base')", "unknown zone 'Mars/Base'"),
    ("log(s)", "log needs int64 or double, but s is string"),
  ]) func `a type error names the operand`(text: String, part: String) throws {
    let expression = try Expression.parse(text)
    do throws(ExpressionError) {
      _ = try expression.type(given: { ExpressionTests.types[$0] }, names: ["i", "view.feature"])
      Issue.record("\(text) was accepted")
    } catch {
      #expect(error.message.contains(part), "\(error)")
    }
    // The evaluator is total all the same.
    #expect(expression.evaluate(count: 4) { ExpressionTests.columns[$0] }.count == 4)
  }

  @Test func `an unknown name is null`() throws {
    let column = try Expression.parse("coalesce(nowhere, 3) + 1").evaluate(count: 2) { _ in nil }
    #expect(column == Column(name: "", values: .int64([4, 4])))
    #expect(try Expression.parse("nowhere").evaluate(count: 0) { _ in nil }.count == 0)
  }

  @Test func `names are listed once in order of first use`() throws {
    #expect(try Expression.parse("b + a.c * b in (d, a.c)").names == ["b", "a.c", "d"])
    #expect(try Expression.parse("Infinity > hour").names == ["Infinity", "hour"])
  }

  @Test func `canonical text parses back to the same tree`() throws {
    var random = TreeMaker(seed: 20_260_101)
    for _ in 0..<5_000 {
      let tree = random.tree(depth: 5)
      #expect(try Expression.parse(tree.text) == tree, "\(tree.text)")
    }
  }

  @Test func `one row at a time equals all rows at once`() throws {
    var random = TreeMaker(seed: 7)
    for _ in 0..<3_000 {
      let tree = random.tree(depth: 4)
      let together = tree.evaluate(count: 4) { ExpressionTests.columns[$0] }
      for row in 0..<4 {
        let alone = tree.evaluate(count: 1) { ExpressionTests.columns[$0]?.gather([row]) }
        #expect(alone.type == together.type, "\(tree.text)")
        expectSame([alone[0]], [together[row]], tree.text)
      }
      if let type = try? tree.type(given: { ExpressionTests.types[$0] }, names: []) {
        #expect(together.type == type, "\(tree.text)")
      }
    }
  }

  @Test func `local times in gaps and overlaps have one reading`() throws {
    var zone = try #require(ZoneOffsets.of("America/New_York")).reader()
    func instant(_ local: String) -> String {
      let reading = ExpressionTests.at(local + "Z").microseconds
      return Timestamp(microseconds: zone.instant(ofLocal: reading)).description
    }
    #expect(instant("2026-01-15T12:00:00") == "2026-01-15T17:00:00Z")
    #expect(instant("2026-03-08T01:59:59") == "2026-03-08T06:59:59Z")
    #expect(instant("2026-03-08T02:30:00") == "2026-03-08T07:30:00Z")
    #expect(instant("2026-03-08T03:00:00") == "2026-03-08T07:00:00Z")
    #expect(instant("2026-11-01T01:30:00") == "2026-11-01T05:30:00Z")
    #expect(instant("2026-11-01T02:00:00") == "2026-11-01T07:00:00Z")
    #expect(ZoneOffsets.of("Nowhere/Land") == nil)
  }
}

private func expectSame(_ found: [Value], _ expected: [Value], _ text: String) {
  func bits(_ value: Value) -> Value {
    // NaN equals NaN here.
    if case .double(let number) = value, number.isNaN { .string("NaN") } else { value }
  }
  #expect(found.map(bits) == expected.map(bits), "\(text)")
}

/// Random trees of the language, well typed or not.
private struct TreeMaker {
  var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next(_ bound: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int((state >> 33) % UInt64(bound))
  }

  mutating func tree(depth: Int) -> Expression {
    if depth == 0 || next(6) == 0 { return leaf() }
    let signs: [Expression.BinaryOperator] = [
      .add, .subtract, .multiply, .divide, .modulo, .equal, .notEqual, .less, .lessOrEqual,
      .greater, .greaterOrEqual, .and, .or,
    ]
    switch next(10) {
    case 0: return .unary(next(2) == 0 ? .negate : .not, tree(depth: depth - 1))
    case 1:
      return .membership(tree(depth: depth - 1), (0...next(3)).map { _ in tree(depth: depth - 1) })
    case 2: return .call("if", (0..<3).map { _ in tree(depth: depth - 1) })
    case 3: return .call("coalesce", (0...next(3)).map { _ in tree(depth: depth - 1) })
    case 4:
      let names = ["abs", "log", "exp", "sqrt", "floor", "ceil", "round", "is_null", "hour"]
      return .call(names[next(names.count)], [tree(depth: depth - 1)])
    case 5:
      return .call(next(2) == 0 ? "min" : "max", [tree(depth: depth - 1), tree(depth: depth - 1)])
    default:
      return .binary(signs[next(signs.count)], tree(depth: depth - 1), tree(depth: depth - 1))
    }
  }

  mutating func leaf() -> Expression {
    switch next(11) {
    case 0: .literal(.null)
    case 1: .literal(.bool(next(2) == 0))
    case 2: .literal(.int64(Int64(next(2_000) - 1_000)))
    case 3: .literal(.int64([.max, .min, 0, -1][next(4)]))
    case 4:
      .literal(
        .double(
          [0.5, -1e300, .leastNonzeroMagnitude, 9_223_372_036_854_775_808, 1e16, -0.0][next(6)]))
    case 5: .literal(.string(["", "AA", "it's", "\"quoted\"", "é\n"][next(5)]))
    default: .name(["i", "d", "s", "b", "t", "view.feature", "nowhere"][next(7)])
    }
  }
}
