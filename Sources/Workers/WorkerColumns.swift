import Core
import Foundation
import Wire

/// Columns as workers read them: packed little-endian buffers that are copied as a whole, never
/// cell by cell.
package enum WorkerColumns {
  package static func packed(_ batch: ColumnBatch) throws -> Martlet_Worker_V1_Columns {
    var message = Martlet_Worker_V1_Columns()
    message.rows = UInt32(batch.count)
    message.columns = try batch.columns.map(packed)
    return message
  }

  package static func unpacked(_ message: Martlet_Worker_V1_Columns) throws -> ColumnBatch {
    let rows = Int(message.rows)
    return ColumnBatch(columns: try message.columns.map { try unpacked($0, rows) }, count: rows)
  }

  /// The numbers of the only column of an answer; null reads as NaN.
  package static func predictions(_ message: Martlet_Worker_V1_Columns) throws -> [Double] {
    guard let only = message.columns.first, message.columns.count == 1, only.type == .double else {
      throw malformed("a worker answered a prediction that is not one DOUBLE column")
    }
    let column = try unpacked(only, Int(message.rows))
    guard case .double(var values) = column.values else { return [] }
    if let presence = column.presence {
      for (row, cell) in presence.enumerated() where cell != 0 { values[row] = .nan }
    }
    return values
  }

  // MARK: One column

  private static func packed(_ column: Column) throws -> Martlet_Worker_V1_Column {
    var message = Martlet_Worker_V1_Column()
    message.name = column.name
    switch column.values {
    case .list(let lists):
      var elements = lists.elements
      if let length = lists.length {
        message.length = UInt32(length)
        if elements.count != lists.count * length { elements = lists.padded(0..<lists.count) }
      } else {
        message.offsets = try packed(offsets: lists.offsets, column.name)
      }
      (message.type, message.values) = try packed(elements, column.name)
    default: (message.type, message.values) = try packed(column.values, column.name)
    }
    if let presence = column.presence, presence.contains(where: { $0 != 0 }) {
      // An absent cell is a null to Python, which knows only two kinds.
      message.validity = Data(presence.map { $0 == 0 ? 1 : 0 })
    }
    return message
  }

  /// The type and bytes of scalars.
  private static func packed(
    _ values: ColumnValues, _ name: String
  ) throws -> (Martlet_Worker_V1_Column.TypeEnum, Data) {
    switch values {
    case .bool(let values): (.bool, values.withUnsafeBytes { Data($0) })
    case .int64(let values): (.int64, values.withUnsafeBytes { Data($0) })
    case .double(let values): (.double, values.withUnsafeBytes { Data($0) })
    case .string(let values): (.string, try packed(values, name))
    case .timestamp(let values): (.timestamp, values.withUnsafeBytes { Data($0) })
    case .list: throw malformed("column '\(name)' has arrays of arrays")
    }
  }

  private static func packed(offsets: [Int], _ name: String) throws -> Data {
    guard let last = offsets.last, last <= Int(UInt32.max) else {
      throw PlatformError(
        .invalidArgument,
        "the arrays of column '\(name)' have too many elements for a worker; send fewer rows")
    }
    var data = Data(capacity: 4 * offsets.count)
    for offset in offsets {
      withUnsafeBytes(of: UInt32(offset).littleEndian) { data.append(contentsOf: $0) }
    }
    return data
  }

  private static func packed(_ strings: [String], _ name: String) throws -> Data {
    let bytes = strings.reduce(0) { $0 + $1.utf8.count }
    guard bytes <= Limits.frameBytes else {
      throw PlatformError(
        .invalidArgument,
        "the texts of column '\(name)' take \(bytes) bytes and a worker takes at most "
          + "\(Limits.frameBytes) at once; send fewer rows")
    }
    var data = Data(capacity: 4 * (strings.count + 1) + bytes)
    var offset: UInt32 = 0
    withUnsafeBytes(of: offset.littleEndian) { data.append(contentsOf: $0) }
    for text in strings {
      offset += UInt32(text.utf8.count)
      withUnsafeBytes(of: offset.littleEndian) { data.append(contentsOf: $0) }
    }
    for var text in strings { text.withUTF8 { data.append($0) } }
    return data
  }

  private static func unpacked(
    _ message: Martlet_Worker_V1_Column, _ rows: Int
  ) throws -> Column {
    let presence = try presence(message, rows)
    guard message.length > 0 || !message.offsets.isEmpty else {
      return Column(
        name: message.name, values: try scalars(message, rows), presence: presence)
    }
    let length = message.length > 0 ? Int(message.length) : nil
    let offsets =
      try length.map { length in (0...rows).map { $0 * length } } ?? offsets(message, rows)
    let elements = try scalars(message, offsets[rows])
    let lists = ListValues(elements: elements, offsets: offsets, length: length)
    return Column(
      name: message.name, values: .list(presence.map(lists.cleared(where:)) ?? lists),
      presence: presence)
  }

  private static func scalars(
    _ message: Martlet_Worker_V1_Column, _ count: Int
  ) throws -> ColumnValues {
    switch message.type {
    case .bool: .bool(try array(message, count, of: UInt8.self).map { $0 != 0 })
    case .int64: .int64(try array(message, count))
    case .double: .double(try array(message, count))
    case .timestamp: .timestamp(try array(message, count))
    case .string: .string(try strings(message, count))
    case .unspecified, .UNRECOGNIZED:
      throw malformed("a worker sent column '\(message.name)' without a type")
    }
  }

  private static func offsets(
    _ message: Martlet_Worker_V1_Column, _ rows: Int
  ) throws -> [Int] {
    let offsets = message.offsets.withUnsafeBytes { bytes in
      (0..<bytes.count / 4).map {
        Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)))
      }
    }
    guard message.offsets.count == 4 * (rows + 1), offsets[0] == 0,
      zip(offsets, offsets.dropFirst()).allSatisfy({ $0 <= $1 })
    else { throw malformed("a worker sent column '\(message.name)' with wrong array offsets") }
    return offsets
  }

  private static func presence(
    _ message: Martlet_Worker_V1_Column, _ rows: Int
  ) throws -> [UInt8]? {
    if message.validity.isEmpty { return nil }
    guard message.validity.count == rows else {
      throw malformed(
        "a worker sent column '\(message.name)' with \(message.validity.count) validity bytes "
          + "for \(rows) rows")
    }
    let present = Presence.present.rawValue
    let null = Presence.null.rawValue
    return message.validity.map { $0 == 0 ? null : present }
  }

  private static func array<Element: BitwiseCopyable>(
    _ message: Martlet_Worker_V1_Column, _ rows: Int, of type: Element.Type = Element.self
  ) throws -> [Element] {
    let size = rows * MemoryLayout<Element>.stride
    guard message.values.count == size else {
      throw malformed(
        "a worker sent column '\(message.name)' with \(message.values.count) bytes; "
          + "\(rows) rows take \(size)")
    }
    return [Element](unsafeUninitializedCapacity: rows) { buffer, count in
      message.values.withUnsafeBytes { UnsafeMutableRawBufferPointer(buffer).copyMemory(from: $0) }
      count = rows
    }
  }

  private static func strings(_ message: Martlet_Worker_V1_Column, _ rows: Int) throws -> [String] {
    try message.values.withUnsafeBytes { bytes in
      let start = 4 * (rows + 1)
      guard bytes.count >= start else {
        throw malformed("a worker sent column '\(message.name)' without all its text offsets")
      }
      var from = 0
      return try (1...max(rows, 1)).prefix(rows).map { row in
        let to = Int(
          UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * row, as: UInt32.self)))
        guard to >= from, start + to <= bytes.count else {
          throw malformed("a worker sent column '\(message.name)' with wrong text offsets")
        }
        defer { from = to }
        return String(decoding: bytes[(start + from)..<(start + to)], as: UTF8.self)
      }
    }
  }

  private static func malformed(_ message: String) -> PlatformError {
    PlatformError(.internalError, message)
  }
}
