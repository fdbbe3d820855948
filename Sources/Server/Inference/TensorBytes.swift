import Core

/// Tensors as bytes: little-endian, row major, without padding; an element of BYTES behind its length in four bytes.
package enum TensorBytes {
  /// - Throws: `invalid_argument` where the bytes are not those of `count` elements.
  package static func elements(
    _ bytes: UnsafeRawBufferPointer, of type: TensorType, count: Int, name: String
  ) throws(PlatformError) -> ColumnValues {
    guard let width = type.width else {
      return .string(try texts(bytes, count: count, name: name))
    }
    // `count` is bounded by `Tensor.count`, so this does not overflow.
    guard bytes.count == count * width else {
      throw PlatformError(
        .invalidArgument,
        "tensor '\(name)' needs \(count * width) bytes for \(count) \(type.rawValue) elements, but has \(bytes.count)"
      )
    }
    switch type {
    case .bool: return .bool(try flags(bytes, name))
    case .int8: return integers(bytes, of: Int8.self)
    case .int16: return integers(bytes, of: Int16.self)
    case .int32: return integers(bytes, of: Int32.self)
    case .int64: return integers(bytes, of: Int64.self)
    case .uint8: return integers(bytes, of: UInt8.self)
    case .uint16: return integers(bytes, of: UInt16.self)
    case .uint32: return integers(bytes, of: UInt32.self)
    case .uint64: return large(read(bytes, UInt64.self) { UInt64(littleEndian: $0) })
    case .fp64:
      return .double(read(bytes, UInt64.self) { Double(bitPattern: .init(littleEndian: $0)) })
    case .fp32:
      return .double(
        read(bytes, UInt32.self) { Double(Float(bitPattern: UInt32(littleEndian: $0))) })
    case .fp16: return .double(read(bytes, UInt16.self) { half(UInt16(littleEndian: $0)) })
    case .bf16:
      return .double(
        read(bytes, UInt16.self) {
          Double(Float(bitPattern: UInt32(UInt16(littleEndian: $0)) << 16))
        })
    case .bytes: return .string([])
    }
  }

  /// What a tensor's elements are written as; nulls as NaN, or as the zero of types that have none.
  package static func append(_ tensor: Tensor, to bytes: inout [UInt8]) {
    switch tensor.elements {
    case .double(let all):
      bytes.reserveCapacity(bytes.count + all.count * 8)
      for (index, one) in all.enumerated() {
        let bits = tensor.isPresent(index) ? one.bitPattern : Double.nan.bitPattern
        withUnsafeBytes(of: bits.littleEndian) { bytes.append(contentsOf: $0) }
      }
    case .int64(let all), .timestamp(let all):
      for one in all { withUnsafeBytes(of: one.littleEndian) { bytes.append(contentsOf: $0) } }
    case .bool(let all): for one in all { bytes.append(one ? 1 : 0) }
    case .string(let all):
      for one in all {
        withUnsafeBytes(of: UInt32(clamping: one.utf8.count).littleEndian) {
          bytes.append(contentsOf: $0)
        }
        bytes.append(contentsOf: one.utf8)
      }
    case .list: break
    }
  }

  // MARK: Reading

  @inline(__always)
  private static func read<Stored, Element>(
    _ bytes: UnsafeRawBufferPointer, _: Stored.Type, _ element: (Stored) -> Element
  ) -> [Element] {
    let width = MemoryLayout<Stored>.size
    return [Element](unsafeUninitializedCapacity: bytes.count / width) { buffer, count in
      while count < bytes.count / width {
        let stored = bytes.loadUnaligned(fromByteOffset: count * width, as: Stored.self)
        buffer.initializeElement(at: count, to: element(stored))
        count += 1
      }
    }
  }

  @inline(__always)
  private static func integers<Stored: FixedWidthInteger>(
    _ bytes: UnsafeRawBufferPointer, of type: Stored.Type
  ) -> ColumnValues {
    .int64(read(bytes, type) { Int64(truncatingIfNeeded: Stored(littleEndian: $0)) })
  }

  /// Doubles where one does not fit an int64.
  static func large(_ all: [UInt64]) -> ColumnValues {
    if all.contains(where: { $0 > UInt64(Int64.max) }) { return .double(all.map { Double($0) }) }
    return .int64(all.map { Int64($0) })
  }

  private static func flags(
    _ bytes: UnsafeRawBufferPointer, _ name: String
  ) throws(PlatformError) -> [Bool] {
    if let odd = bytes.firstIndex(where: { $0 > 1 }) {
      throw PlatformError(
        .invalidArgument,
        "tensor '\(name)' is BOOL, whose elements are the bytes 0 and 1, but element \(odd + 1) is \(bytes[odd])"
      )
    }
    return bytes.map { $0 == 1 }
  }

  /// IEEE 754 binary16; by hand, since not every processor has the type.
  private static func half(_ bits: UInt16) -> Double {
    let sign: Double = bits & 0x8000 == 0 ? 1 : -1
    let fraction = Double(bits & 0x3FF)
    switch Int(bits >> 10 & 0x1F) {
    case 0: return sign * fraction * 0x1p-24
    case 31: return fraction == 0 ? sign * .infinity : .nan
    case let exponent:
      return sign * (1 + fraction / 1_024)
        * Double(sign: .plus, exponent: exponent - 15, significand: 1)
    }
  }

  private static func texts(
    _ bytes: UnsafeRawBufferPointer, count: Int, name: String
  ) throws(PlatformError) -> [String] {
    // Each takes four bytes at least: a count that lies reserves nothing.
    var all = [String](reserving: min(count, bytes.count / 4))
    var position = 0
    while position < bytes.count {
      guard bytes.count - position >= 4 else { throw cut(name, all.count + 1) }
      let length = Int(
        UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self)))
      position += 4
      guard length <= bytes.count - position else { throw cut(name, all.count + 1) }
      guard let text = String(validating: bytes[position..<position + length], as: UTF8.self) else {
        throw PlatformError(
          .invalidArgument, "element \(all.count + 1) of tensor '\(name)' is not UTF-8")
      }
      all.append(text)
      position += length
    }
    guard all.count == count else {
      throw PlatformError(
        .invalidArgument,
        "tensor '\(name)' has a shape of \(count) elements, but its bytes hold \(all.count)")
    }
    return all
  }

  private static func cut(_ name: String, _ element: Int) -> PlatformError {
    PlatformError(
      .invalidArgument,
      "the bytes of tensor '\(name)' end within element \(element); each is its length in four bytes, then so many bytes"
    )
  }
}
