import Synchronization

extension Warehouse {
  /// All the rows of a read-only query as values of a `Decodable` type, columns matched to coding keys by name.
  ///
  /// A type that decodes from a single value (`Int64`, `String`, an enum with raw values) takes the only column of the query. Meant for
  /// results that fit in memory; use `stream` for more.
  package func query<Row: Decodable & Sendable>(
    _ sql: String, _ parameters: [Value] = [], as type: Row.Type = Row.self
  ) async throws -> [Row] {
    let rows = Mutex<[Row]>([])
    try await stream(sql, parameters) { batch in
      let decoded = try RowDecoder(batch).decode(type)
      rows.withLock { $0.append(contentsOf: decoded) }
    }
    return rows.withLock { $0 }
  }
}

/// Decodes the rows of a batch into `Decodable` types by column name.
///
/// Understands `Bool`, all integers, `Double`, `Float`, `String`, `Timestamp`, arrays and optionals of them, and everything made of a single one of them.
/// Integers decode into floating-point members, not the other way round. Errors name the column and what was expected.
package struct RowDecoder {
  fileprivate let columns: [Column]
  fileprivate let positions: [String: Int]
  package let count: Int

  package init(_ batch: borrowing ColumnBatch) {
    columns = batch.columns
    count = batch.count
    positions = Dictionary(
      batch.columns.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
  }

  package func decode<Row: Decodable>(_ type: Row.Type) throws -> [Row] {
    var rows = [Row](reserving: count)
    for row in 0..<count {
      rows.append(try decode(type, at: row))
    }
    return rows
  }

  package func decode<Row: Decodable>(_ type: Row.Type, at row: Int) throws -> Row {
    if columns.count == 1, type == Timestamp.self {
      return try Cell(column: columns[0], row: row).decode(type)
    }
    return try Row(from: RowDecoding(rows: self, row: row))
  }
}

/// One row as a `Decoder`: keyed by column name, or its only column as a single value.
private struct RowDecoding: Decoder {
  let rows: RowDecoder
  let row: Int
  var codingPath: [any CodingKey] { [] }
  var userInfo: [CodingUserInfoKey: Any] { [:] }

  func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
    KeyedDecodingContainer(RowContainer<Key>(rows: rows, row: row))
  }

  func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
    throw PlatformError(.internalError, "A row of a query cannot be decoded as an array.")
  }

  func singleValueContainer() throws -> any SingleValueDecodingContainer {
    guard rows.columns.count == 1 else {
      throw PlatformError(
        .internalError,
        "A row of \(rows.columns.count) columns cannot be decoded as a single value; select one column."
      )
    }
    return Cell(column: rows.columns[0], row: row)
  }
}

private struct RowContainer<Key: CodingKey>: KeyedDecodingContainerProtocol {
  let rows: RowDecoder
  let row: Int
  var codingPath: [any CodingKey] { [] }
  var allKeys: [Key] { rows.columns.compactMap { Key(stringValue: $0.name) } }

  private func cell(_ key: Key) throws -> Cell {
    guard let position = rows.positions[key.stringValue] else {
      throw PlatformError(
        .internalError,
        "The query has no column '\(key.stringValue)'"
          + suggestion(for: key.stringValue, among: rows.positions.keys))
    }
    return Cell(column: rows.columns[position], row: row)
  }

  func contains(_ key: Key) -> Bool { rows.positions[key.stringValue] != nil }
  func decodeNil(forKey key: Key) throws -> Bool { try cell(key).decodeNil() }
  func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T {
    try cell(key).decode(type)
  }

  func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type, forKey key: Key
  ) throws -> KeyedDecodingContainer<Nested> {
    throw try cell(key).mismatch("a structure")
  }

  func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
    try cell(key).unkeyedContainer()
  }

  func superDecoder() throws -> any Decoder { RowDecoding(rows: rows, row: row) }
  func superDecoder(forKey key: Key) throws -> any Decoder { try cell(key) }
}

/// One cell, as a decoder of a single value.
private struct Cell: Decoder, SingleValueDecodingContainer {
  let column: Column
  let row: Int
  var codingPath: [any CodingKey] { [] }
  var userInfo: [CodingUserInfoKey: Any] { [:] }

  func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
    throw mismatch("a structure")
  }
  func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
    guard column.isPresent(row), case .list(let lists) = column.values else {
      throw mismatch("an array")
    }
    return ElementContainer(elements: Column(name: column.name, values: lists[row]))
  }
  func singleValueContainer() throws -> any SingleValueDecodingContainer { self }
  func decodeNil() -> Bool { !column.isPresent(row) }

  func mismatch(_ expected: String) -> PlatformError {
    let found = column.isPresent(row) ? "a value of type \(column.type.rawValue)" : "null"
    return PlatformError(
      .internalError, "Column '\(column.name)', row \(row): expected \(expected), found \(found).")
  }

  func decode(_ type: Bool.Type) throws -> Bool {
    guard column.isPresent(row), case .bool(let values) = column.values else {
      throw mismatch("a bool")
    }
    return values[row]
  }

  func decode(_ type: String.Type) throws -> String {
    guard column.isPresent(row), case .string(let values) = column.values else {
      throw mismatch("a string")
    }
    return values[row]
  }

  func decode(_ type: Double.Type) throws -> Double {
    guard column.isPresent(row) else { throw mismatch("a double") }
    return switch column.values {
    case .double(let values): values[row]
    case .int64(let values): Double(values[row])
    default: throw mismatch("a double")
    }
  }

  func decode(_ type: Float.Type) throws -> Float { Float(try decode(Double.self)) }

  private func integer<T: FixedWidthInteger>(_ type: T.Type) throws -> T {
    guard column.isPresent(row), case .int64(let values) = column.values,
      let value = T(exactly: values[row])
    else { throw mismatch("an integer (\(T.self))") }
    return value
  }

  func decode(_ type: Int.Type) throws -> Int { try integer(type) }
  func decode(_ type: Int8.Type) throws -> Int8 { try integer(type) }
  func decode(_ type: Int16.Type) throws -> Int16 { try integer(type) }
  func decode(_ type: Int32.Type) throws -> Int32 { try integer(type) }
  func decode(_ type: Int64.Type) throws -> Int64 { try integer(type) }
  func decode(_ type: UInt.Type) throws -> UInt { try integer(type) }
  func decode(_ type: UInt8.Type) throws -> UInt8 { try integer(type) }
  func decode(_ type: UInt16.Type) throws -> UInt16 { try integer(type) }
  func decode(_ type: UInt32.Type) throws -> UInt32 { try integer(type) }
  func decode(_ type: UInt64.Type) throws -> UInt64 { try integer(type) }

  func decode<T: Decodable>(_ type: T.Type) throws -> T {
    // `Timestamp` decodes from text elsewhere; a timestamp column has it as it is.
    if type == Timestamp.self, column.isPresent(row), case .timestamp(let values) = column.values,
      let value = Timestamp(microseconds: values[row]) as? T
    {
      return value
    }
    do {
      return try T(from: self)
    } catch let error as DecodingError {
      // An enum that does not know the raw value, for example.
      throw PlatformError(
        .internalError, "Column '\(column.name)', row \(row): cannot be read as \(T.self).",
        cause: error)
    }
  }
}

/// The elements of one array cell, from first to last.
private struct ElementContainer: UnkeyedDecodingContainer {
  let elements: Column
  private(set) var currentIndex = 0
  var codingPath: [any CodingKey] { [] }
  var count: Int? { elements.count }
  var isAtEnd: Bool { currentIndex >= elements.count }

  init(elements: Column) { self.elements = elements }

  private mutating func next() throws -> Cell {
    guard !isAtEnd else {
      throw PlatformError(
        .internalError,
        "Column '\(elements.name)': an array has only \(elements.count) elements.")
    }
    defer { currentIndex += 1 }
    return Cell(column: elements, row: currentIndex)
  }

  mutating func decodeNil() throws -> Bool { false }
  mutating func decode<T: Decodable>(_ type: T.Type) throws -> T { try next().decode(type) }

  mutating func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type
  ) throws -> KeyedDecodingContainer<Nested> {
    throw try next().mismatch("a structure")
  }

  mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
    try next().unkeyedContainer()
  }

  mutating func superDecoder() throws -> any Decoder { try next() }
}
