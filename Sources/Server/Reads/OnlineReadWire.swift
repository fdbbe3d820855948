import Core
import Features
import GRPCCore
import SwiftProtobuf
import Wire

/// `GetOnline`'s messages in protobuf, read and written without the generated types between: they were a third of a call.
///
/// What this reader does not know it leaves to the generated code, and so every message that one takes is taken.
enum OnlineReadWire {
  static func question(
    _ message: [UInt8], lists: FeatureLists, snapshot: Snapshot
  ) throws -> OnlineQuestion {
    if let read = try message.withUnsafeBytes({ try OnlineReadWireReader.read($0, lists: lists) }) {
      return try OnlineQuestion(
        list: read.list, set: read.set, rows: read.rows, lists: lists, snapshot: snapshot)
    }
    let request: Martlet_V1_GetOnlineRequest
    do {
      request = try Martlet_V1_GetOnlineRequest(serializedBytes: message)
    } catch {
      throw PlatformError(.invalidArgument, "the message is no GetOnlineRequest", cause: error)
    }
    return try OnlineQuestion(
      list: request.features.isEmpty ? nil : FeatureList(request.features),
      set: request.featureSet.isEmpty ? nil : request.featureSet,
      rows: try request.entities.map(requestRow), lists: lists, snapshot: snapshot)
  }

  static func answer(_ list: FeatureList, _ answer: HydratedRows) throws -> [UInt8] {
    var writer = WireWriter(
      capacity: list.wireHead.count + 32 + answer.vectors.count * (8 + list.names.count * 48))
    var before = writer.count
    write(answer.time, into: &writer)
    writer.close(3, before)
    for vector in answer.vectors.reversed() {
      before = writer.count
      try write(vector, at: answer.time, into: &writer)
      writer.close(2, before)
    }
    writer.prepend(list.wireHead)
    return writer.bytes
  }

  private static func write(
    _ vector: FeatureVector, at time: Timestamp, into writer: inout WireWriter
  ) throws {
    var last: Timestamp?
    var written = 0..<0
    for feature in vector.values.reversed() {
      let cell = writer.count
      if let event = feature.eventTimestamp {
        if event == last {
          writer.repeatBytes(written)
        } else {
          let age = (time - event).inSeconds
          if age != 0 { writer.field(4, double: age) }
          let before = writer.count
          write(event, into: &writer)
          writer.close(3, before)
          last = event
          written = cell..<writer.count
        }
      }
      writer.field(2, varint: UInt64(feature.status.wire.rawValue))
      let value = writer.count
      try write(feature.value, into: &writer)
      writer.close(1, value)
      writer.close(1, cell)
    }
  }

  private static func write(_ value: Value, into writer: inout WireWriter) throws {
    switch value {
    case .null: break
    case .bool(let value): writer.field(1, varint: value ? 1 : 0)
    case .int64(let value): writer.field(2, varint: UInt64(bitPattern: value))
    case .double(let value): writer.field(3, double: value)
    case .string(let value): writer.field(4, text: value)
    case .timestamp(let value):
      let before = writer.count
      write(value, into: &writer)
      writer.close(5, before)
    case .list: writer.prepend(try value.wire.serializedBytes() as [UInt8])
    }
  }

  private static func write(_ time: Timestamp, into writer: inout WireWriter) {
    let seconds = floorMultiple(time.microseconds, 1_000_000)
    let nanos = (time.microseconds - seconds) * 1_000
    if nanos != 0 { writer.field(2, varint: UInt64(nanos)) }
    if seconds != 0 { writer.field(1, varint: UInt64(bitPattern: seconds / 1_000_000)) }
  }
}

/// Reads a `GetOnlineRequest`; what answers nil met something that only the generated code knows, or takes apart well.
private struct OnlineReadWireReader {
  private let bytes: UnsafeRawBufferPointer
  private var position: Int
  private let end: Int

  private init(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
    self.bytes = bytes
    position = range.lowerBound
    end = range.upperBound
  }

  private var isAtEnd: Bool { position == end }

  /// - Throws: what is wrong with the names of features.
  static func read(
    _ bytes: UnsafeRawBufferPointer, lists: FeatureLists
  ) throws -> (list: FeatureList?, set: String?, rows: [RequestRow])? {
    var reader = OnlineReadWireReader(bytes, 0..<bytes.count)
    guard let features = reader.features(), let (set, rows) = reader.rest() else { return nil }
    if features.isEmpty { return (nil, set, rows) }
    let list = try lists.list(UnsafeRawBufferPointer(rebasing: bytes[features])) {
      var names: [String] = []
      var reader = OnlineReadWireReader(bytes, features)
      while reader.take(0x0A), let name = reader.text() { names.append(name) }
      guard reader.isAtEnd else {
        throw PlatformError(.invalidArgument, "the name of a feature is not UTF-8")
      }
      return try FeatureList(names)
    }
    return (list, set, rows)
  }

  /// Where the names of features stand, which come first.
  private mutating func features() -> Range<Int>? {
    while take(0x0A) { guard message() != nil else { return nil } }
    return 0..<position
  }

  private mutating func rest() -> (set: String?, rows: [RequestRow])? {
    var set: String?
    var rows: [RequestRow] = []
    while !isAtEnd {
      if take(0x12) {
        guard let range = message() else { return nil }
        var reader = OnlineReadWireReader(bytes, range)
        guard rows.count <= Limits.onlineReadRows, let row = reader.row() else { return nil }
        rows.append(row)
      } else if take(0x1A), let name = text() {
        set = name.isEmpty ? nil : name
      } else {
        return nil
      }
    }
    return (set, rows)
  }

  private mutating func row() -> RequestRow? {
    var row = RequestRow(minimumCapacity: 1)
    while !isAtEnd {
      guard take(0x0A), let range = message() else { return nil }
      var entry = OnlineReadWireReader(bytes, range)
      guard entry.take(0x0A), let name = entry.text(), entry.take(0x12),
        let part = entry.message(), entry.isAtEnd
      else { return nil }
      var reader = OnlineReadWireReader(bytes, part)
      guard let value = reader.value() else { return nil }
      row[name] = value
    }
    return row
  }

  /// A value of one field at most.
  private mutating func value() -> Value? {
    if isAtEnd { return .null }
    let value: Value?
    if take(0x08) {
      value = varint().map { .bool($0 != 0) }
    } else if take(0x10) {
      value = varint().map { .int64(Int64(bitPattern: $0)) }
    } else if take(0x19) {
      guard end - position >= 8 else { return nil }
      let bits = bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)
      position += 8
      value = .double(Double(bitPattern: UInt64(littleEndian: bits)))
    } else if take(0x22) {
      value = text().map { .string($0) }
    } else {
      return nil
    }
    return isAtEnd ? value : nil
  }

  private mutating func take(_ tag: UInt8) -> Bool {
    guard position < end, bytes[position] == tag else { return false }
    position += 1
    return true
  }

  private mutating func varint() -> UInt64? {
    var value: UInt64 = 0
    for group in 0..<10 as Range<UInt64> {
      guard position < end else { return nil }
      let byte = bytes[position]
      position += 1
      value |= UInt64(byte & 0x7F) << (7 * group)
      if byte < 0x80 { return value }
    }
    return nil
  }

  /// Where a message or text of a stated length stands.
  private mutating func message() -> Range<Int>? {
    guard let length = varint(), length <= UInt64(end - position) else { return nil }
    let range = position..<position + Int(length)
    position = range.upperBound
    return range
  }

  private mutating func text() -> String? {
    guard let range = message() else { return nil }
    return String(validating: bytes[range], as: UTF8.self)
  }
}
