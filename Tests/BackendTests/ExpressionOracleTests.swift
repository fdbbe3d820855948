import Core
import DuckDBBackend
import Foundation
import Synchronization
import TestKit
import Testing

/// The expression language (semantics §5) against two programs that are not ours: DuckDB for values, nulls, logic and
/// precedence, and `date` with the system's zones for the parts of a time.
@Suite struct ExpressionOracleTests {
  /// Every value that a rule speaks of, in all the combinations that random rows make.
  private static let columns: [(name: String, type: ColumnType, values: [Value])] = [
    ("i", .int64, [0, 1, -1, 2, 3, -7, 40, .max, .min].map { .int64($0) } + [.null]),
    ("j", .int64, [0, 2, 5, -3].map { .int64($0) } + [.null]),
    (
      "d", .double,
      [0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 7, .nan, 1e6].map { .double($0) } + [.null]
    ),
    ("e", .double, [0, 1, -3.25, 0.125].map { .double($0) } + [.null]),
    ("s", .string, ["", "a", "b", "it's", "\u{E9}", "e\u{301}"].map { .string($0) } + [.null]),
    ("b", .bool, [.bool(true), .bool(false), .null]),
    ("c", .bool, [.bool(true), .bool(false), .null]),
  ]
  private static let rows = 200

  private static func table(using random: inout SeededGenerator) -> ColumnBatch {
    ColumnBatch(
      columns: columns.map { name, type, values in
        Column(
          name: name, type: type,
          (0..<rows).map { _ in values.randomElement(using: &random) ?? .null })
      })
  }

  @Test("expressions of every operator and function are what DuckDB makes of the same rule")
  func values() async throws {
    let seed = UInt64.random(in: 0...1_000_000_000)
    var random = SeededGenerator(seed: seed)
    let table = Self.table(using: &random)
    try await Self.withTable(table) { warehouse in
      for _ in 0..<40 {
        let pairs = (0..<25).map { _ in ExpressionPair.random(depth: 4, using: &random) }
        let expected = try await Self.query(pairs.map(\.sql), warehouse)
        for (pair, expected) in zip(pairs, expected.columns) {
          try Self.compare(pair.text, table, expected, seed: seed)
        }
      }
    }
  }

  @Test("what binds tighter binds tighter in DuckDB too")
  func precedence() async throws {
    let seed = UInt64.random(in: 0...1_000_000_000)
    var random = SeededGenerator(seed: seed)
    let table = Self.table(using: &random)
    try await Self.withTable(table) { warehouse in
      let texts = (0..<500).map { _ in Self.flat(using: &random) }
      let expected = try await Self.query(texts, warehouse)
      for (text, expected) in zip(texts, expected.columns) {
        try Self.compare(text, table, expected, seed: seed)
      }
    }
  }

  /// A condition without any parentheses that reads the same in SQL.
  private static func flat(using random: inout SeededGenerator) -> String {
    func pick(_ all: [String]) -> String { all.randomElement(using: &random) ?? "" }
    func sum() -> String {
      let terms = (0...Int.random(in: 0...3, using: &random)).map { _ in
        pick(["j", "2", "3", "-j", "7"])
      }
      return terms.dropFirst().reduce(terms[0]) { $0 + pick([" + ", " - ", " * "]) + $1 }
    }
    func condition() -> String {
      let not = pick(["", "", "not "])
      switch Int.random(in: 0..<6, using: &random) {
      case 0: return not + pick(["b", "c"])
      case 1: return not + "j in (2, \(sum()))"
      case 2: return not + "j not in (0, 5)"
      case 3: return not + "s = 'a'"
      case 4: return not + "j is " + pick(["", "not "]) + "null"
      default:
        return not + sum() + pick([" < ", " <= ", " > ", " >= ", " = ", " != ", " <> "]) + sum()
      }
    }
    let terms = (0...Int.random(in: 1...4, using: &random)).map { _ in condition() }
    return terms.dropFirst().reduce(terms[0]) { $0 + pick([" and ", " or "]) + $1 }
  }

  private static func compare(
    _ text: String, _ table: ColumnBatch, _ expected: Column, seed: UInt64
  ) throws {
    let expression = try Expression.parse(text)
    let type = try expression.type(
      given: { table[$0]?.type }, names: table.columns.map(\.name))
    let found = expression.evaluate(count: table.count) { table[$0] }
    #expect(found.type == type ?? .double, "seed \(seed): \(text)")
    for row in 0..<table.count where !isSame(found[row], expected[row]) {
      let cells = expression.names.map { "\($0) = \(table[$0]?[row] ?? .null)" }
      Issue.record(
        "seed \(seed): \(text) is \(found[row]), in DuckDB \(expected[row]), where \(cells)")
      return
    }
  }

  private static func isSame(_ a: Value, _ b: Value) -> Bool {
    guard case .double(let x) = a, case .double(let y) = b else { return a == b }
    return x == y || x.isNaN && y.isNaN || abs(x - y) <= 1e-12 * abs(y)
  }

  // MARK: DuckDB

  private static func withTable(
    _ table: ColumnBatch, _ body: (DuckDBWarehouse) async throws -> Void
  ) async throws {
    let warehouse = try await DuckDBWarehouse.open(path: nil)
    let types = columns.map { name, type, _ in
      let names: [ColumnType: String] = [
        .int64: "BIGINT", .double: "DOUBLE", .string: "VARCHAR", .bool: "BOOLEAN",
      ]
      return "\(name) \(names[type] ?? "")"
    }
    try await warehouse.execute("CREATE TABLE t (r BIGINT, \(types.joined(separator: ", ")))", [])
    let places = table.columns.map { _ in "?" }.joined(separator: ", ")
    for row in 0..<table.count {
      try await warehouse.execute(
        "INSERT INTO t VALUES (?, \(places))",
        [.int64(Int64(row))] + table.columns.map { $0[row] })
    }
    try await body(warehouse)
    try await warehouse.close()
  }

  private static func query(
    _ expressions: [String], _ warehouse: DuckDBWarehouse
  ) async throws -> ColumnBatch {
    let list = expressions.enumerated().map { "(\($1)) AS x\($0)" }.joined(separator: ", ")
    let found = Mutex(ColumnBatch(columns: []))
    try await warehouse.stream("SELECT \(list) FROM t ORDER BY r", []) { batch in
      let batch = copy batch
      found.withLock { $0.append(contentsOf: batch) }
    }
    return found.withLock { $0 }
  }

  // MARK: Time parts

  @Test(
    "parts of a time are what `date` says in the same zone",
    arguments: [
      "UTC", "America/New_York", "Europe/Vienna", "Asia/Kolkata", "Asia/Kathmandu",
      "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia", "Africa/Casablanca",
    ])
  func timeParts(zone: String) async throws {
    let seed = UInt64.random(in: 0...1_000_000_000)
    var random = SeededGenerator(seed: seed)
    // The seconds around every half hour of days on which clocks change somewhere, and any since 1970.
    let changes: [Int64] = [
      1_772_953_200, 1_793_512_800, 1_774_746_000, 1_792_890_000, 1_325_239_200,
    ]
    var seconds = (0..<600).map { _ in Int64.random(in: 0...2_100_000_000, using: &random) }
    for change in changes {
      for hour in -30...30 { seconds += [-1, 0].map { change + Int64(hour) * 1_800 + $0 } }
    }
    let lines = seconds.map { "@\($0)" }.joined(separator: "\n")
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    try folder.write(lines + "\n", to: "seconds")
    let answer = try await ChildProgram.run(
      "date", ["-f", "\(folder.path)/seconds", "+%Y %m %d %H %M %S %u %j %q"],
      environment: ["PATH": "/usr/bin:/bin", "TZ": zone, "LC_ALL": "C"], directory: folder.path)
    let expected = answer.output.split(separator: "\n").map {
      $0.split(separator: " ").compactMap { Int64($0) }
    }
    try #require(expected.count == seconds.count, "\(answer.errors)")
    let times = Column(name: "t", values: .timestamp(seconds.map { $0 * 1_000_000 + 999_999 }))
    let parts = [
      "year", "month", "day", "hour", "minute", "second", "weekday", "day_of_year", "quarter",
    ]
    for (position, part) in parts.enumerated() {
      let found = try Expression.parse("\(part)(t, '\(zone)')").evaluate(count: seconds.count) {
        _ in
        times
      }
      for (row, second) in seconds.enumerated() {
        // Monday is 1 for `date`, 0 for us.
        let wanted = expected[row][position] - (part == "weekday" ? 1 : 0)
        if found[row] != .int64(wanted) {
          Issue.record(
            "seed \(seed): \(part) of \(second) in \(zone) is \(found[row]), not \(wanted)")
          return
        }
      }
    }
  }
}
