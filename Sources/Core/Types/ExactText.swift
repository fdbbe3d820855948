import Foundation

/// Text that is compared, hashed and ordered by its UTF-8 bytes, as the warehouse does.
///
/// Swift's own `==` holds "é" of one scalar and "é" of two for equal, DuckDB for two values. Values of users are
/// compared by bytes everywhere, so that online and offline agree (semantics §8): a dictionary or set over them has
/// this as its key.
package struct ExactText: Hashable, Comparable, Sendable {
  package let text: String

  package init(_ text: String) { self.text = text }

  package static func == (a: ExactText, b: ExactText) -> Bool {
    a.text.hasSameBytes(as: b.text)
  }

  package func hash(into hasher: inout Hasher) { text.hashBytes(into: &hasher) }

  package static func < (a: ExactText, b: ExactText) -> Bool {
    a.text.utf8.lexicographicallyPrecedes(b.text.utf8)
  }
}

extension String {
  /// Whether the UTF-8 bytes are the same, which is more than `==` asks for.
  package func hasSameBytes(as other: String) -> Bool {
    let a = utf8
    let b = other.utf8
    guard a.count == b.count else { return false }
    let same = a.withContiguousStorageIfAvailable { a in
      b.withContiguousStorageIfAvailable { b in
        guard let x = a.baseAddress, let y = b.baseAddress else { return true }
        return memcmp(x, y, a.count) == 0
      }
    }
    return (same ?? nil) ?? a.elementsEqual(b)
  }

  /// Goes with `hasSameBytes`.
  package func hashBytes(into hasher: inout Hasher) {
    var text = self
    text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    // No UTF-8 has this byte, so it ends the text where more is hashed after it.
    hasher.combine(0xFF as UInt8)
  }

  /// The text with `escape` before each of the ASCII characters in `marks`.
  ///
  /// Goes by bytes: `replacing` goes by characters, and a quote that a combining mark follows is another character,
  /// yet it ends an SQL literal.
  package func escaping(_ marks: StaticString, with escape: Unicode.Scalar) -> String {
    let marks = UnsafeBufferPointer(start: marks.utf8Start, count: marks.utf8CodeUnitCount)
    guard utf8.contains(where: { marks.contains($0) }) else { return self }
    var escaped: [UInt8] = []
    escaped.reserveCapacity(utf8.count + 8)
    for byte in utf8 {
      if marks.contains(byte) { escaped.append(UInt8(ascii: escape)) }
      escaped.append(byte)
    }
    return String(decoding: escaped, as: UTF8.self)
  }

  /// The text as an SQL literal.
  package var sqlLiteral: String { "'\(escaping("'", with: "'"))'" }
}
