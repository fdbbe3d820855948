import Core
import NIOCore

/// Up to where a key has the events of something that comes in order.
package struct AppliedMark: Sendable, Equatable {
  /// A stream's name in 64 bits, or a writer's number.
  package var origin: UInt64
  package var sequence: Int64
  /// A mark of one writer's batches, needed only until it knows that its last write arrived.
  package var isOfWriter: Bool

  package init(origin: UInt64, sequence: Int64, isOfWriter: Bool) {
    self.origin = origin
    self.sequence = sequence
    self.isOfWriter = isOfWriter
  }
}

/// What the `#state` field of an entity key's hash holds: the state itself, which write it is of, and which events it has.
///
/// Bytes: version of this format (1), write (8, random), number of marks (2), marks (17 each), bytes of the state before packing (4),
/// the state as `MemoryEncoder` writes it, packed. Numbers are little-endian.
package struct StoredState: Sendable, Equatable {
  package static let format: UInt8 = 1
  /// Where the bytes that tell one write from another are.
  package static let headBytes = 9
  /// Writers that a key remembers; whoever retries is among the last of them.
  private static let writers = 8

  package var state: EntityState
  package var marks: [AppliedMark] = []

  /// Notes an event; the most recent mark stands last, and of writers' marks only the last few stay.
  package mutating func note(_ origin: UInt64, _ sequence: Int64, isOfWriter: Bool) {
    marks.removeAll { $0.origin == origin }
    marks.append(AppliedMark(origin: origin, sequence: sequence, isOfWriter: isOfWriter))
    if marks.count(where: \.isOfWriter) > StoredState.writers,
      let oldest = marks.firstIndex(where: \.isOfWriter)
    {
      marks.remove(at: oldest)
    }
  }

  /// The field's bytes, under a number of this write's own.
  package func encoded(write: UInt64) -> [UInt8] {
    var head = MemoryEncoder()
    head.write(StoredState.format)
    head.write(write)
    head.write(UInt16(truncatingIfNeeded: marks.count))
    for mark in marks {
      head.write(mark.origin)
      head.write(mark.sequence)
      head.write(UInt8(mark.isOfWriter ? 1 : 0))
    }
    var body = MemoryEncoder()
    body.write(state)
    head.write(UInt32(truncatingIfNeeded: body.bytes.count))
    ZeroPacking.pack(body.bytes, into: &head.bytes)
    return head.bytes
  }

  /// - Parameter blank: an empty state of the layout.
  /// - Throws: `storage` for bytes that no store of this version wrote for this layout.
  package init(_ bytes: ByteBuffer, layout: ViewLayout, blank: EntityState, key: [UInt8]) throws {
    let decoded = bytes.withUnsafeReadableBytes { bytes -> StoredState? in
      try? StoredState(decoding: bytes, layout: layout, blank: blank)
    }
    guard let decoded else { throw RedisFault.foreign("a state that cannot be read", key: key) }
    self = decoded
  }

  /// The state alone, which is all that a reader needs; throws as `init` does.
  package static func state(
    in bytes: ByteBuffer, layout: ViewLayout, blank: EntityState, key: [UInt8]
  ) throws -> EntityState {
    let decoded = bytes.withUnsafeReadableBytes { bytes -> EntityState? in
      guard let (size, packed) = try? body(of: bytes) else { return nil }
      // Room for a whole last word.
      return withUnsafeTemporaryAllocation(byteCount: (size + 7) / 8 * 8, alignment: 8) { body in
        guard ZeroPacking.unpack(packed, into: body, count: size) else { return nil }
        var decoder = MemoryDecoder(UnsafeRawBufferPointer(rebasing: body[..<size]))
        guard let state = try? decoder.state(layout, blank: blank), decoder.isAtEnd else {
          return nil
        }
        return state
      }
    }
    guard let decoded else { throw RedisFault.foreign("a state that cannot be read", key: key) }
    return decoded
  }

  /// How large the state's bytes are, and where they stand packed.
  private static func body(
    of bytes: UnsafeRawBufferPointer
  ) throws(MemoryDecodingError) -> (size: Int, packed: UnsafeRawBufferPointer) {
    var head = MemoryDecoder(bytes)
    guard try head.number(UInt8.self) == StoredState.format else { throw MemoryDecodingError() }
    _ = try head.number(UInt64.self)
    let start = StoredState.headBytes + 2 + 17 * Int(try head.number(UInt16.self))
    guard start + 4 <= bytes.count else { throw MemoryDecodingError() }
    let size = Int(
      UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: start, as: UInt32.self)))
    let packed = UnsafeRawBufferPointer(rebasing: bytes[(start + 4)...])
    guard size <= packed.count * 1_024 + 8 else { throw MemoryDecodingError() }
    return (size, packed)
  }

  package init(state: EntityState, marks: [AppliedMark] = []) {
    self.state = state
    self.marks = marks
  }

  private init(
    decoding bytes: UnsafeRawBufferPointer, layout: ViewLayout, blank: EntityState
  ) throws(MemoryDecodingError) {
    var head = MemoryDecoder(bytes)
    guard try head.number(UInt8.self) == StoredState.format else { throw MemoryDecodingError() }
    _ = try head.number(UInt64.self)
    let count = Int(try head.number(UInt16.self))
    marks.reserveCapacity(count)
    for _ in 0..<count {
      marks.append(
        AppliedMark(
          origin: try head.number(UInt64.self), sequence: try head.number(Int64.self),
          isOfWriter: try head.number(UInt8.self) == 1))
    }
    let size = Int(try head.number(UInt32.self))
    let start = StoredState.headBytes + 2 + 17 * count + 4
    let packed = UnsafeRawBufferPointer(rebasing: bytes[start...])
    // Eight bytes need at least a mask, and runs of zeros at most 256 words in two bytes.
    guard size <= packed.count * 1_024 + 8, let body = ZeroPacking.unpack(packed, count: size)
    else { throw MemoryDecodingError() }
    state = blank
    let decoded = body.withUnsafeBytes { bytes -> EntityState? in
      var decoder = MemoryDecoder(bytes)
      guard let state = try? decoder.state(layout, blank: blank), decoder.isAtEnd else {
        return nil
      }
      return state
    }
    guard let decoded else { throw MemoryDecodingError() }
    state = decoded
  }
}
