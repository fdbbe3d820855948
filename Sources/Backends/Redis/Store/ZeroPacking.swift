/// Bytes without their zeros: of every eight bytes a mask of those that are not zero, then these; a run of eight zeros
/// is a mask of 0 and how many more such runs follow. Counts, sums of few events and small numbers are mostly zeros.
///
/// After the packing of Cap'n Proto (https://capnproto.org/encoding.html#packing), without its runs of unpacked words.
package enum ZeroPacking {
  package static func pack(_ bytes: [UInt8], into packed: inout [UInt8]) {
    // A word of eight bytes takes nine at most.
    let room = bytes.count / 8 * 9 + 10
    let packedBytes = [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
      guard let target = buffer.baseAddress else { return }
      bytes.withUnsafeBytes { count = pack($0, into: target) }
    }
    packed.append(contentsOf: packedBytes)
  }

  /// The number of bytes written to `target`, which has room for the worst case.
  private static func pack(
    _ bytes: UnsafeRawBufferPointer, into target: UnsafeMutablePointer<UInt8>
  ) -> Int {
    let words = bytes.count / 8
    var written = 0
    var word = 0
    while word < words {
      var rest = bytes.loadUnaligned(fromByteOffset: word * 8, as: UInt64.self).littleEndian
      word += 1
      if rest == 0 {
        let first = word
        while word < words, word - first < 255,
          bytes.loadUnaligned(fromByteOffset: word * 8, as: UInt64.self) == 0
        {
          word += 1
        }
        target[written] = 0
        target[written + 1] = UInt8(word - first)
        written += 2
        continue
      }
      let place = written
      written += 1
      var mask: UInt8 = 0
      for bit in 0..<8 as Range<UInt8> {
        let byte = UInt8(truncatingIfNeeded: rest)
        // Written in any case, kept where it is not zero: no branch to guess wrong.
        target[written] = byte
        let isKept: UInt8 = byte == 0 ? 0 : 1
        written += Int(isKept)
        mask |= isKept << bit
        rest >>= 8
      }
      target[place] = mask
    }
    return packTail(bytes, from: words * 8, into: target, at: written)
  }

  /// The last bytes, fewer than a word.
  private static func packTail(
    _ bytes: UnsafeRawBufferPointer, from start: Int, into target: UnsafeMutablePointer<UInt8>,
    at place: Int
  ) -> Int {
    guard start < bytes.count else { return place }
    var written = place + 1
    var mask: UInt8 = 0
    for index in start..<bytes.count where bytes[index] != 0 {
      target[written] = bytes[index]
      written += 1
      mask |= 1 << UInt8(index - start)
    }
    target[place] = mask
    if mask != 0 { return written }
    target[written] = 0
    return written + 1
  }

  /// Nil where the bytes were not packed from `count` bytes.
  package static func unpack(_ packed: UnsafeRawBufferPointer, count: Int) -> [UInt8]? {
    // Room for a whole last word.
    let room = (count + 7) / 8 * 8
    var isWhole = false
    let bytes = [UInt8](unsafeUninitializedCapacity: room) { buffer, initialized in
      initialized = count
      isWhole = unpack(packed, into: UnsafeMutableRawBufferPointer(buffer), count: count)
    }
    return isWhole ? bytes : nil
  }

  /// - Parameter bytes: room for `count` bytes, and for a whole last word.
  package static func unpack(
    _ packed: UnsafeRawBufferPointer, into bytes: UnsafeMutableRawBufferPointer, count: Int
  ) -> Bool {
    bytes.initializeMemory(as: UInt8.self, repeating: 0)
    var source = 0
    var position = 0
    while position < count {
      guard source < packed.count else { return false }
      let mask = packed[source]
      source += 1
      if mask == 0 {
        guard source < packed.count else { return false }
        position += 8 + 8 * Int(packed[source])
        source += 1
        continue
      }
      let kept = mask.nonzeroBitCount
      guard kept <= packed.count - source,
        position + 8 - mask.leadingZeroBitCount <= count
      else { return false }
      var word: UInt64 = 0
      var rest = mask
      while rest != 0 {
        word |= UInt64(packed[source]) << UInt64(rest.trailingZeroBitCount * 8)
        source += 1
        rest &= rest - 1
      }
      bytes.storeBytes(of: word.littleEndian, toByteOffset: position, as: UInt64.self)
      position += 8
    }
    return source == packed.count && position < count + 8
  }
}
