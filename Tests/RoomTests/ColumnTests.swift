import Core
import Testing

@Suite struct ColumnTests {
  /// Two values of the type that are not its zero.
  static func values(of type: ColumnType) -> [Value] {
    switch type {
    case .bool: [.bool(true), .bool(true)]
    case .int64: [.int64(3), .int64(-4)]
    case .double: [.double(1.5), .double(-.infinity)]
    case .string: [.string("a"), .string("longer than fifteen bytes")]
    case .timestamp: [1, 2].map { .timestamp(Timestamp(microseconds: $0)) }
    case .array: []
    }
  }

  static func address(of column: borrowing Column) -> UnsafeRawPointer? {
    switch column.values {
    case .bool(let all): all.withUnsafeBytes { $0.baseAddress }
    case .int64(let all), .timestamp(let all): all.withUnsafeBytes { $0.baseAddress }
    case .double(let all): all.withUnsafeBytes { $0.baseAddress }
    case .string(let all): all.withUnsafeBytes { $0.baseAddress }
    case .list: nil
    }
  }

  @Test(arguments: ColumnType.scalars)
  func `appending within the reserved room leaves the cells where they are`(type: ColumnType) {
    let values = ColumnTests.values(of: type)
    var column = Column(name: "c", values: ColumnValues(empty: type, reserving: 1_000))
    column.append(values[0])
    let start = ColumnTests.address(of: column)
    var moves = 0
    for row in 1..<500 {
      column.append(row % 3 == 0 ? .null : values[row % 2])
      if ColumnTests.address(of: column) != start { moves += 1 }
    }
    #expect(moves == 0)
    column.append(contentsOf: Column(name: "more", type: type, values))
    column.append(contentsOf: Column(name: "nulls", nulls: 400, of: type))
    #expect(ColumnTests.address(of: column) == start)
    #expect(column.count == 902 && column.presence?.count == 902)
  }

  @Test(arguments: ColumnType.scalars)
  func `a column holds what was appended, in order`(type: ColumnType) {
    let values = ColumnTests.values(of: type)
    var column = Column(name: "c", type: type, [values[0], .null])
    column.append(.null, absent: true)
    column.append(contentsOf: Column(name: "more", type: type, [values[1], values[0]]))
    let other: Value = type == .string ? .bool(true) : .string("text")
    column.append(other)
    #expect((0..<6).map { column[$0] } == [values[0], .null, .null, values[1], values[0], .null])
    #expect(column.presence == [0, 1, 2, 0, 0, 1])
  }

  @Test func `whole numbers widen into a double column, and a column of another type is nulls`() {
    var column = Column(name: "c", type: .double, [.int64(3), .double(0.5)])
    column.append(contentsOf: Column(name: "texts", values: .string(["a", "b"])))
    #expect((0..<4).map { column[$0] } == [.double(3), .double(0.5), .null, .null])
  }

  @Test func `a copy of a column does not see what is appended to the original`() {
    var column = Column(name: "c", type: .string, [.string("a")])
    let copy = column
    column.append(.string("b"))
    column.append(contentsOf: copy)
    #expect(copy.values == .string(["a"]))
    #expect(column.values == .string(["a", "b", "a"]))
  }
}
