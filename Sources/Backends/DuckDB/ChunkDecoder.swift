import CDuckDB
import Core

/// Turns the data chunks of one result into column batches, vector by vector.
final class ChunkDecoder {
  private enum Kind {
    case bool
    case int8, int16, int32, int64, uint8, uint16, uint32, uint64, hugeint, uhugeint
    case float, double
    case decimal(duckdb_type, scale: Int)
    case string, hex, uuid
    case dictionary(duckdb_type, [String])
    case date
    case timestamp
    case scaledTimestamp(multiply: Int64, divide: Int64)
    case onlyNull
    /// `length` where it is one of fixed length.
    indirect case list(of: Kind, length: Int?)
  }

  private let names: [String]
  private let kinds: [Kind]

  init(_ result: inout duckdb_result) throws {
    var names: [String] = []
    var kinds: [Kind] = []
    for index in 0..<duckdb_column_count(&result) {
      let name = duckdb_column_name(&result, index).map { String(cString: $0) } ?? "column\(index)"
      var type = duckdb_column_logical_type(&result, index)
      defer { duckdb_destroy_logical_type(&type) }
      kinds.append(try Self.kind(of: type, column: name))
      names.append(name)
    }
    self.names = names
    self.kinds = kinds
  }

  func decode(_ chunk: duckdb_data_chunk?) throws -> ColumnBatch {
    let count = Int(duckdb_data_chunk_get_size(chunk))
    var columns = [Column](reserving: names.count)
    for (index, kind) in kinds.enumerated() {
      let vector = duckdb_data_chunk_get_vector(chunk, idx_t(index))
      let cells = VectorCells(vector, count: count)
      let values =
        if case .list(let element, let length) = kind {
          try lists(vector, cells, element, length: length, name: names[index])
        } else {
          Self.values(cells, kind)
        }
      columns.append(Column(name: names[index], values: values, presence: cells.presence))
    }
    return ColumnBatch(columns: columns, count: count)
  }

  private func lists(
    _ vector: duckdb_vector?, _ cells: VectorCells, _ element: Kind, length: Int?, name: String
  ) throws -> ColumnValues {
    let entries = cells.entries(length: length)
    let child =
      length.map { VectorCells(duckdb_array_vector_get_child(vector), count: cells.count * $0) }
      ?? VectorCells(
        duckdb_list_vector_get_child(vector), count: Int(duckdb_list_vector_get_size(vector)))
    guard entries.allSatisfy({ child.areValid($0) }) else {
      throw PlatformError(
        .invalidArgument,
        "Column '\(name)' has an array with a null element, which cannot be returned; write CAST(\(EventTable.quoted(name)) "
          + "AS VARCHAR), or leave nulls out with list_filter.")
    }
    let all = Self.values(child, element)
    var offsets = [Int](reserving: entries.count + 1)
    offsets.append(0)
    var isInOrder = true
    for entry in entries {
      if entry.lowerBound != offsets[offsets.count - 1], !entry.isEmpty { isInOrder = false }
      offsets.append(offsets[offsets.count - 1] + entry.count)
    }
    let isWhole = isInOrder && offsets[entries.count] == all.count
    return .list(
      ListValues(
        elements: isWhole ? all : all.joining(entries), offsets: offsets, length: length))
  }

  private static func kind(of type: duckdb_logical_type?, column: String) throws -> Kind {
    switch duckdb_get_type_id(type) {
    case DUCKDB_TYPE_LIST, DUCKDB_TYPE_ARRAY:
      let isArray = duckdb_get_type_id(type) == DUCKDB_TYPE_ARRAY
      var child =
        isArray ? duckdb_array_type_child_type(type) : duckdb_list_type_child_type(type)
      defer { duckdb_destroy_logical_type(&child) }
      let element = try kind(of: child, column: column)
      // Lists of lists are no values of the platform.
      if case .list = element { throw unreturnable(column) }
      return .list(
        of: element, length: isArray ? Int(duckdb_array_type_array_size(type)) : nil)
    case DUCKDB_TYPE_BOOLEAN: return .bool
    case DUCKDB_TYPE_TINYINT: return .int8
    case DUCKDB_TYPE_SMALLINT: return .int16
    case DUCKDB_TYPE_INTEGER: return .int32
    case DUCKDB_TYPE_BIGINT: return .int64
    case DUCKDB_TYPE_UTINYINT: return .uint8
    case DUCKDB_TYPE_USMALLINT: return .uint16
    case DUCKDB_TYPE_UINTEGER: return .uint32
    case DUCKDB_TYPE_UBIGINT: return .uint64
    case DUCKDB_TYPE_HUGEINT: return .hugeint
    case DUCKDB_TYPE_UHUGEINT: return .uhugeint
    case DUCKDB_TYPE_FLOAT: return .float
    case DUCKDB_TYPE_DOUBLE: return .double
    case DUCKDB_TYPE_DECIMAL:
      return .decimal(duckdb_decimal_internal_type(type), scale: Int(duckdb_decimal_scale(type)))
    case DUCKDB_TYPE_VARCHAR: return .string
    case DUCKDB_TYPE_BLOB: return .hex
    case DUCKDB_TYPE_UUID: return .uuid
    case DUCKDB_TYPE_ENUM:
      let words = (0..<duckdb_enum_dictionary_size(type)).map { index in
        let word = duckdb_enum_dictionary_value(type, idx_t(index))
        defer { duckdb_free(word) }
        return word.map { String(cString: $0) } ?? ""
      }
      return .dictionary(duckdb_enum_internal_type(type), words)
    case DUCKDB_TYPE_DATE: return .date
    case DUCKDB_TYPE_TIMESTAMP, DUCKDB_TYPE_TIMESTAMP_TZ: return .timestamp
    case DUCKDB_TYPE_TIMESTAMP_S: return .scaledTimestamp(multiply: 1_000_000, divide: 1)
    case DUCKDB_TYPE_TIMESTAMP_MS: return .scaledTimestamp(multiply: 1_000, divide: 1)
    case DUCKDB_TYPE_TIMESTAMP_NS: return .scaledTimestamp(multiply: 1, divide: 1_000)
    case DUCKDB_TYPE_SQLNULL: return .onlyNull
    default: throw unreturnable(column)
    }
  }

  private static func unreturnable(_ column: String) -> PlatformError {
    PlatformError(
      .invalidArgument,
      "Column '\(column)' has a type that cannot be returned; write CAST(\(EventTable.quoted(column)) AS VARCHAR), or select "
        + "its parts.")
  }

  private static func values(_ cells: VectorCells, _ kind: Kind) -> ColumnValues {
    switch kind {
    case .bool: .bool(cells.map(UInt8.self, zero: false) { $0 & 1 == 1 })
    case .int8: .int64(cells.map(Int8.self, zero: 0) { Int64($0) })
    case .int16: .int64(cells.map(Int16.self, zero: 0) { Int64($0) })
    case .int32: .int64(cells.map(Int32.self, zero: 0) { Int64($0) })
    case .int64: .int64(cells.copy(Int64.self, zero: 0))
    case .uint8: .int64(cells.map(UInt8.self, zero: 0) { Int64($0) })
    case .uint16: .int64(cells.map(UInt16.self, zero: 0) { Int64($0) })
    case .uint32: .int64(cells.map(UInt32.self, zero: 0) { Int64($0) })
    case .uint64:
      cells.allSatisfy(UInt64.self) { $0 <= UInt64(Int64.max) }
        ? .int64(cells.map(UInt64.self, zero: 0) { Int64($0) })
        : .double(cells.map(UInt64.self, zero: 0) { Double($0) })
    case .hugeint:
      cells.allSatisfy(duckdb_hugeint.self) { $0.upper == Int64(bitPattern: $0.lower) >> 63 }
        ? .int64(cells.map(duckdb_hugeint.self, zero: 0) { Int64(bitPattern: $0.lower) })
        : .double(cells.map(duckdb_hugeint.self, zero: 0) { duckdb_hugeint_to_double($0) })
    case .uhugeint:
      cells.allSatisfy(duckdb_uhugeint.self) { $0.upper == 0 && $0.lower <= UInt64(Int64.max) }
        ? .int64(cells.map(duckdb_uhugeint.self, zero: 0) { Int64($0.lower) })
        : .double(cells.map(duckdb_uhugeint.self, zero: 0) { duckdb_uhugeint_to_double($0) })
    case .float: .double(cells.map(Float.self, zero: 0) { Double($0) })
    case .double: .double(cells.copy(Double.self, zero: 0))
    case .decimal(let type, let scale): .double(decimals(cells, type, scale))
    case .string: .string(cells.strings())
    case .hex: .string(cells.hexadecimal())
    case .uuid: .string(cells.map(duckdb_hugeint.self, zero: "", uuidText))
    case .dictionary(let type, let words): .string(dictionary(cells, type, words))
    case .date: .timestamp(cells.map(Int32.self, zero: 0, instant))
    case .timestamp: .timestamp(cells.copy(Int64.self, zero: 0))
    case .scaledTimestamp(let multiply, let divide):
      .timestamp(
        cells.map(Int64.self, zero: 0) { floorMultiple($0, divide) / divide &* multiply })
    case .onlyNull, .list: .int64([Int64](repeating: 0, count: cells.count))
    }
  }

  /// The midnight of a day; the engine's infinities, and days that are further than an instant reaches, are the least and the greatest.
  private static func instant(ofDay day: Int32) -> Int64 {
    let (instant, isBeyond) = Int64(day).multipliedReportingOverflow(by: 86_400_000_000)
    return isBeyond ? (day < 0 ? -.max : .max) : instant
  }

  private static func decimals(_ cells: VectorCells, _ type: duckdb_type, _ scale: Int) -> [Double]
  {
    var unit = 1.0
    for _ in 0..<scale { unit *= 10 }
    return switch type {
    case DUCKDB_TYPE_SMALLINT: cells.map(Int16.self, zero: 0) { Double($0) / unit }
    case DUCKDB_TYPE_INTEGER: cells.map(Int32.self, zero: 0) { Double($0) / unit }
    case DUCKDB_TYPE_BIGINT: cells.map(Int64.self, zero: 0) { Double($0) / unit }
    default: cells.map(duckdb_hugeint.self, zero: 0) { duckdb_hugeint_to_double($0) / unit }
    }
  }

  private static func dictionary(
    _ cells: VectorCells, _ type: duckdb_type, _ words: [String]
  )
    -> [String]
  {
    switch type {
    case DUCKDB_TYPE_UTINYINT: cells.map(UInt8.self, zero: "") { words[Int($0)] }
    case DUCKDB_TYPE_USMALLINT: cells.map(UInt16.self, zero: "") { words[Int($0)] }
    default: cells.map(UInt32.self, zero: "") { words[Int($0)] }
    }
  }

  private static func uuidText(_ value: duckdb_hugeint) -> String {
    // DuckDB flips the top bit so that UUIDs order as signed numbers.
    let upper = UInt64(bitPattern: value.upper) ^ (1 << 63)
    var digits = hexDigits(upper) + hexDigits(value.lower)
    for position in [20, 16, 12, 8] {
      digits.insert("-", at: digits.index(digits.startIndex, offsetBy: position))
    }
    return digits
  }

  private static func hexDigits(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}

/// The cells of one vector: raw memory and which of them are valid.
private struct VectorCells {
  let data: UnsafeMutableRawPointer?
  /// One bit a row, nil where all are valid.
  let validity: UnsafeMutablePointer<UInt64>?
  let count: Int

  init(_ vector: duckdb_vector?, count: Int) {
    data = duckdb_vector_get_data(vector)
    self.count = count
    let mask = duckdb_vector_get_validity(vector)
    validity = mask.flatMap { Self.hasNull($0, count) ? $0 : nil }
  }

  private static func hasNull(_ mask: UnsafeMutablePointer<UInt64>, _ count: Int) -> Bool {
    for word in 0..<count / 64 where mask[word] != .max { return true }
    let rest = UInt64(count % 64)
    return rest > 0 && ~mask[count / 64] & ((1 << rest) - 1) != 0
  }

  private func isValid(_ row: Int) -> Bool {
    guard let validity else { return true }
    return validity[row >> 6] >> UInt64(row & 63) & 1 == 1
  }

  func areValid(_ rows: Range<Int>) -> Bool {
    validity == nil || rows.allSatisfy(isValid)
  }

  /// Where each cell's elements are in the child vector; nothing for a null.
  func entries(length: Int?) -> [Range<Int>] {
    if let length {
      return (0..<count).map { row in
        isValid(row) ? row * length..<(row + 1) * length : 0..<0
      }
    }
    guard let data else { return [] }
    let entries = data.assumingMemoryBound(to: duckdb_list_entry.self)
    return (0..<count).map { row in
      guard isValid(row) else { return 0..<0 }
      let start = Int(entries[row].offset)
      return start..<start + Int(entries[row].length)
    }
  }

  var presence: [UInt8]? {
    guard let validity else { return nil }
    return [UInt8](unsafeUninitializedCapacity: count) { bytes, initialized in
      for row in 0..<count {
        bytes[row] = UInt8(truncatingIfNeeded: ~(validity[row >> 6] >> UInt64(row & 63)) & 1)
      }
      initialized = count
    }
  }

  /// The cells as they are in memory, zero where null.
  func copy<T: BitwiseCopyable>(_ type: T.Type, zero: T) -> [T] {
    guard let data, count > 0 else { return [] }
    return [T](unsafeUninitializedCapacity: count) { target, initialized in
      guard let base = target.baseAddress else { return }
      base.initialize(from: data.assumingMemoryBound(to: T.self), count: count)
      if validity != nil {
        for row in 0..<count where !isValid(row) { base[row] = zero }
      }
      initialized = count
    }
  }

  @inline(__always)
  func map<T, Output>(_ type: T.Type, zero: Output, _ transform: (T) -> Output) -> [Output] {
    guard let data, count > 0 else { return [] }
    let cells = data.assumingMemoryBound(to: T.self)
    return [Output](unsafeUninitializedCapacity: count) { target, initialized in
      guard let base = target.baseAddress else { return }
      if validity == nil {
        for row in 0..<count { (base + row).initialize(to: transform(cells[row])) }
      } else {
        for row in 0..<count {
          (base + row).initialize(to: isValid(row) ? transform(cells[row]) : zero)
        }
      }
      initialized = count
    }
  }

  func allSatisfy<T>(_ type: T.Type, _ condition: (T) -> Bool) -> Bool {
    guard let data else { return true }
    let cells = data.assumingMemoryBound(to: T.self)
    for row in 0..<count where isValid(row) && !condition(cells[row]) { return false }
    return true
  }

  func strings() -> [String] {
    guard let data else { return [] }
    return texts(data) { String(decoding: $0, as: UTF8.self) }
  }

  func hexadecimal() -> [String] {
    guard let data else { return [] }
    let digits = Array("0123456789abcdef".utf8)
    return texts(data) { bytes in
      String(unsafeUninitializedCapacity: bytes.count * 2) { target in
        for (index, byte) in bytes.enumerated() {
          target[index * 2] = digits[Int(byte >> 4)]
          target[index * 2 + 1] = digits[Int(byte & 15)]
        }
        return bytes.count * 2
      }
    }
  }

  /// Strings of at most 12 bytes lie in the vector itself, longer ones elsewhere.
  @inline(__always)
  private func texts(
    _ data: UnsafeMutableRawPointer, _ transform: (UnsafeBufferPointer<UInt8>) -> String
  ) -> [String] {
    if let validity, (0..<(count + 63) / 64).allSatisfy({ validity[$0] == 0 }) {
      return [String](repeating: "", count: count)
    }
    let cells = data.assumingMemoryBound(to: duckdb_string_t.self)
    return [String](unsafeUninitializedCapacity: count) { target, initialized in
      guard let base = target.baseAddress else { return }
      for row in 0..<count {
        guard isValid(row) else {
          (base + row).initialize(to: "")
          continue
        }
        let length = Int(cells[row].value.inlined.length)
        let start =
          length <= 12
          ? UnsafeRawPointer(data + row * MemoryLayout<duckdb_string_t>.stride + 4)
          : UnsafeRawPointer(cells[row].value.pointer.ptr)
        let bytes = UnsafeBufferPointer(
          start: start?.assumingMemoryBound(to: UInt8.self), count: length)
        (base + row).initialize(to: transform(bytes))
      }
      initialized = count
    }
  }
}
