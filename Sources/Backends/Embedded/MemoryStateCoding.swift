import Core

/// Bytes of a snapshot block that is being made; numbers are little-endian.
struct MemoryEncoder {
  var bytes: [UInt8] = []

  mutating func write<Number: FixedWidthInteger>(_ number: Number) {
    withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
  }

  mutating func write(_ text: String) {
    var text = text
    text.withUTF8 {
      write(UInt32($0.count))
      bytes.append(contentsOf: $0)
    }
  }

  mutating func write(_ key: EntityKey) {
    switch key {
    case .int64(let value):
      write(UInt8(0))
      write(value)
    case .string(let value):
      write(UInt8(1))
      write(value)
    case .composite(let parts):
      write(UInt8(2))
      write(UInt8(truncatingIfNeeded: parts.count))
      for part in parts {
        switch part {
        case .int64(let value):
          write(UInt8(0))
          write(value)
        case .string(let value):
          write(UInt8(1))
          write(value)
        }
      }
    }
  }

  mutating func write(_ value: Value) {
    switch value {
    case .null: write(UInt8(1))
    case .bool(let value):
      write(UInt8(2))
      write(UInt8(value ? 1 : 0))
    case .int64(let value):
      write(UInt8(3))
      write(value)
    case .double(let value):
      write(UInt8(4))
      write(value.bitPattern)
    case .string(let value):
      write(UInt8(5))
      write(value)
    case .timestamp(let value):
      write(UInt8(6))
      write(value.microseconds)
    }
  }

  mutating func write(_ state: EntityState) {
    write(state.newestEvent)
    for cell in state.latest {
      guard let cell else {
        write(UInt8(0))
        continue
      }
      write(cell.value)
      write(cell.eventTimestamp)
      write(cell.createdAt)
      write(cell.sequence)
    }
    for ring in state.rings {
      write(UInt32(ring.indices.count))
      ring.indices.withUnsafeBytes { bytes.append(contentsOf: $0) }
      ring.partials.withUnsafeBytes { bytes.append(contentsOf: $0) }
    }
    write(UInt32(state.pending.count))
    for event in state.pending { write(event) }
  }

  private mutating func write(_ event: PendingEvent) {
    write(event.eventTimestamp)
    write(event.createdAt)
    write(event.sequence)
    for value in event.latest {
      if let value { write(value) } else { write(UInt8(0)) }
    }
    for slot in event.slots { write((slot ?? .nan).bitPattern) }
  }
}

/// The bytes are not what an encoder of this version writes.
struct MemoryDecodingError: Error {}

/// Reads what a `MemoryEncoder` wrote; damaged bytes are an error, never a trap.
struct MemoryDecoder {
  private let bytes: UnsafeRawBufferPointer
  private var offset = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  var isAtEnd: Bool { offset == bytes.count }

  private mutating func take(_ count: Int) throws(MemoryDecodingError) -> UnsafeRawBufferPointer {
    guard count >= 0, count <= bytes.count - offset else { throw MemoryDecodingError() }
    defer { offset += count }
    return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
  }

  mutating func number<Number: FixedWidthInteger & BitwiseCopyable>(
    _: Number.Type
  ) throws(MemoryDecodingError) -> Number {
    Number(littleEndian: try take(MemoryLayout<Number>.size).loadUnaligned(as: Number.self))
  }

  mutating func text() throws(MemoryDecodingError) -> String {
    let bytes = try take(Int(number(UInt32.self)))
    guard let text = String(validating: bytes, as: UTF8.self) else { throw MemoryDecodingError() }
    return text
  }

  /// Numbers as they lie in memory; the file's magic says that the byte order is ours.
  private mutating func array<Element: BitwiseCopyable>(
    of count: Int, _: Element.Type
  ) throws(MemoryDecodingError) -> [Element] {
    let bytes = try take(count * MemoryLayout<Element>.stride)
    return [Element](unsafeUninitializedCapacity: count) { buffer, initialized in
      UnsafeMutableRawBufferPointer(buffer).copyMemory(from: bytes)
      initialized = count
    }
  }

  mutating func key(_ layout: ViewLayout) throws(MemoryDecodingError) -> EntityKey {
    switch try number(UInt8.self) {
    case 0: return .int64(try number(Int64.self))
    case 1: return .string(try text())
    case 2:
      let count = Int(try number(UInt8.self))
      guard count == layout.keyColumns.count else { throw MemoryDecodingError() }
      var parts = [KeyPart](reserving: count)
      for _ in 0..<count {
        switch try number(UInt8.self) {
        case 0: parts.append(.int64(try number(Int64.self)))
        case 1: parts.append(.string(try text()))
        default: throw MemoryDecodingError()
        }
      }
      return .composite(parts)
    default: throw MemoryDecodingError()
    }
  }

  /// Nil is no observation.
  private mutating func value(_ type: ColumnType) throws(MemoryDecodingError) -> Value? {
    let value: Value
    switch try number(UInt8.self) {
    case 0: return nil
    case 1: return .null
    case 2: value = .bool(try number(UInt8.self) != 0)
    case 3: value = .int64(try number(Int64.self))
    case 4: value = .double(Double(bitPattern: try number(UInt64.self)))
    case 5: value = .string(try text())
    case 6: value = .timestamp(Timestamp(microseconds: try number(Int64.self)))
    default: throw MemoryDecodingError()
    }
    guard value.type == type else { throw MemoryDecodingError() }
    return value
  }

  /// - Parameter blank: an empty state of the layout.
  mutating func state(
    _ layout: ViewLayout, blank: EntityState
  ) throws(MemoryDecodingError) -> EntityState {
    var state = blank
    state.newestEvent = try number(Int64.self)
    for (index, column) in layout.latestColumns.enumerated() {
      guard let value = try value(column.type) else { continue }
      state.latest[index] = LatestCell(
        value: value, eventTimestamp: try number(Int64.self), createdAt: try number(Int64.self),
        sequence: try number(Int64.self))
    }
    for (index, ring) in layout.rings.enumerated() {
      let tiles = Int(try number(UInt32.self))
      guard tiles > 0 else { continue }
      let indices = try array(of: tiles, Int64.self)
      guard zip(indices, indices.dropFirst()).allSatisfy({ $0 < $1 }) else {
        throw MemoryDecodingError()
      }
      state.rings[index].indices = indices
      state.rings[index].partials = try array(of: tiles * ring.slots.count, Partial.self)
    }
    for _ in 0..<(try number(UInt32.self)) { state.pending.append(try pendingEvent(layout)) }
    return state
  }

  private mutating func pendingEvent(
    _ layout: ViewLayout
  ) throws(MemoryDecodingError) -> PendingEvent {
    var event = PendingEvent(
      eventTimestamp: try number(Int64.self), createdAt: try number(Int64.self),
      sequence: try number(Int64.self), latest: [], slots: [])
    for column in layout.latestColumns { event.latest.append(try value(column.type)) }
    for _ in layout.slots {
      let value = Double(bitPattern: try number(UInt64.self))
      event.slots.append(value.isNaN ? nil : value)
    }
    return event
  }
}
