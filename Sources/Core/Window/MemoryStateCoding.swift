/// Bytes of states that are being made, for a snapshot block or for another store; numbers are little-endian.
package struct MemoryEncoder {
  package var bytes: [UInt8] = []

  package init() {}

  package mutating func write<Number: FixedWidthInteger>(_ number: Number) {
    withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
  }

  package mutating func write(_ text: String) {
    var text = text
    text.withUTF8 {
      write(UInt32($0.count))
      bytes.append(contentsOf: $0)
    }
  }

  package mutating func write(_ key: EntityKey) {
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

  package mutating func write(_ value: Value) {
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
    case .list(let elements):
      write(UInt8(7))
      let type = ScalarType.allCases.firstIndex { $0 == elements.type.scalar } ?? 0
      write(UInt8(type))
      write(UInt32(elements.count))
      write(elements)
    }
  }

  private mutating func write(_ elements: ColumnValues) {
    // As they lie in memory; the file's magic says that the byte order is ours.
    switch elements {
    case .bool(let all): bytes.append(contentsOf: all.map { $0 ? 1 : 0 })
    case .int64(let all), .timestamp(let all):
      all.withUnsafeBytes { bytes.append(contentsOf: $0) }
    case .double(let all): all.withUnsafeBytes { bytes.append(contentsOf: $0) }
    case .string(let all): for text in all { write(text) }
    case .list: break
    }
  }

  package mutating func write(_ state: EntityState) {
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
      for sketch in ring.sketches.joined() { write(sketch) }
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
    for sketch in event.sketches {
      if let sketch { write(sketch) } else { write(UInt8(0)) }
    }
  }

  /// Of which kind it is, the layout says.
  private mutating func write(_ sketch: Sketch?) {
    guard let sketch else { return write(UInt8(0)) }
    write(UInt8(1))
    switch sketch {
    case .moments(let moments):
      withUnsafeBytes(of: moments) { bytes.append(contentsOf: $0) }
    case .distinct(let values):
      write(UInt32(values.hashes.count))
      values.hashes.withUnsafeBytes { bytes.append(contentsOf: $0) }
      write(UInt32(values.ranks.count))
      bytes.append(contentsOf: values.ranks)
    case .quantile(let quantiles):
      write(UInt32(quantiles.bins.count))
      quantiles.bins.withUnsafeBytes { bytes.append(contentsOf: $0) }
      quantiles.counts.withUnsafeBytes { bytes.append(contentsOf: $0) }
    case .ordered(let values):
      write(UInt32(values.entries.count))
      for entry in values.entries {
        write(entry.value)
        withUnsafeBytes(of: entry.mark) { bytes.append(contentsOf: $0) }
      }
    }
  }
}

/// The bytes are not what an encoder of this version writes.
package struct MemoryDecodingError: Error {
  package init() {}
}

/// Reads what a `MemoryEncoder` wrote; damaged bytes are an error, never a trap.
package struct MemoryDecoder {
  private let bytes: UnsafeRawBufferPointer
  private var offset = 0

  package init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  package var isAtEnd: Bool { offset == bytes.count }

  private mutating func take(_ count: Int) throws(MemoryDecodingError) -> UnsafeRawBufferPointer {
    guard count >= 0, count <= bytes.count - offset else { throw MemoryDecodingError() }
    defer { offset += count }
    return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
  }

  package mutating func number<Number: FixedWidthInteger & BitwiseCopyable>(
    _: Number.Type
  ) throws(MemoryDecodingError) -> Number {
    Number(littleEndian: try take(MemoryLayout<Number>.size).loadUnaligned(as: Number.self))
  }

  package mutating func text() throws(MemoryDecodingError) -> String {
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

  package mutating func key(_ layout: ViewLayout) throws(MemoryDecodingError) -> EntityKey {
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
    guard let value = try value() else { return nil }
    guard value.isOf(type) else { throw MemoryDecodingError() }
    return value
  }

  private mutating func value() throws(MemoryDecodingError) -> Value? {
    switch try number(UInt8.self) {
    case 0: nil
    case 1: .null
    case 2: .bool(try number(UInt8.self) != 0)
    case 3: .int64(try number(Int64.self))
    case 4: .double(Double(bitPattern: try number(UInt64.self)))
    case 5: .string(try text())
    case 6: .timestamp(Timestamp(microseconds: try number(Int64.self)))
    case 7: .list(try elements())
    default: throw MemoryDecodingError()
    }
  }

  private mutating func elements() throws(MemoryDecodingError) -> ColumnValues {
    let type = Int(try number(UInt8.self))
    guard type < ScalarType.allCases.count else { throw MemoryDecodingError() }
    let count = Int(try number(UInt32.self))
    switch ScalarType.allCases[type] {
    case .bool: return .bool(try array(of: count, UInt8.self).map { $0 != 0 })
    case .int64: return .int64(try array(of: count, Int64.self))
    case .double: return .double(try array(of: count, Double.self))
    case .timestamp: return .timestamp(try array(of: count, Int64.self))
    case .string:
      var texts: [String] = []
      for _ in 0..<count { texts.append(try text()) }
      return .string(texts)
    }
  }

  /// - Parameter blank: an empty state of the layout.
  package mutating func state(
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
      guard !ring.sketches.isEmpty else { continue }
      for _ in 0..<tiles {
        var tile: [Sketch?] = []
        for slot in ring.sketches { tile.append(try sketch(layout.sketches[slot])) }
        state.rings[index].sketches.append(tile)
      }
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
    for _ in layout.sketches { event.sketches.append(try value()) }
    return event
  }

  private mutating func sketch(
    _ slot: ViewLayout.SketchSlot
  ) throws(MemoryDecodingError) -> Sketch? {
    guard try number(UInt8.self) == 1 else { return nil }
    switch Sketch(slot.kind) {
    case .moments: return .moments(try array(of: 1, Moments.self)[0])
    case .distinct:
      let hashes = try array(of: Int(number(UInt32.self)), UInt64.self)
      let ranks = try array(of: Int(number(UInt32.self)), UInt8.self)
      guard let values = DistinctValues(hashes: hashes, ranks: ranks) else {
        throw MemoryDecodingError()
      }
      return .distinct(values)
    case .quantile:
      let count = Int(try number(UInt32.self))
      let bins = try array(of: count, Int32.self)
      let counts = try array(of: count, Int64.self)
      guard let sketch = QuantileSketch(bins: bins, counts: counts) else {
        throw MemoryDecodingError()
      }
      return .quantile(sketch)
    case .ordered(var values):
      for _ in 0..<(try number(UInt32.self)) {
        guard let value = try value() else { throw MemoryDecodingError() }
        values.add(value, try array(of: 1, EventMark.self)[0])
      }
      return .ordered(values)
    }
  }
}
