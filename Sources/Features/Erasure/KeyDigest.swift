import Core
import Crypto
import Foundation

/// Turns entity keys and event ids into digests that tell nothing without the installation's salt.
///
/// Whoever has both the salt and a digest can still try keys one after another: a digest keeps a key from being read, not
/// from being guessed.
struct KeyDigest: Sendable {
  let salt: String
  private let secret: SymmetricKey
  private let seed: EventIDSeed

  /// - Parameter salt: 32 bytes in hexadecimal.
  init(salt: String) {
    self.salt = salt
    secret = SymmetricKey(data: Data(salt.utf8))
    let half = salt.utf8.count / 2
    seed = EventIDSeed(
      low: UInt64(salt.prefix(min(16, half)), radix: 16) ?? 0,
      high: UInt64(salt.dropFirst(half).prefix(16), radix: 16) ?? 0)
  }

  static func newSalt() -> String {
    SymmetricKey(size: .bits256).withUnsafeBytes { bytes in Self.hexadecimal(bytes) }
  }

  func digest(of key: EntityKey, columns: [String]) -> String {
    digest(Self.encoded(key, columns))
  }

  func digest(ofEvent id: String, source: String) -> String {
    digest(Array("event\u{0}\(source)\u{0}\(id)".utf8))
  }

  /// Sixteen bits of a quick hash: what is not among the filters of erased keys is not erased.
  func filter(of key: EntityKey, columns: [String]) -> Int {
    Self.encoded(key, columns).withUnsafeBufferPointer {
      Int(truncatingIfNeeded: EventIDHash($0, seed: seed).low >> 48)
    }
  }

  private func digest(_ bytes: [UInt8]) -> String {
    HMAC<SHA256>.authenticationCode(for: bytes, using: secret).withUnsafeBytes {
      Self.hexadecimal($0)
    }
  }

  private static func hexadecimal(_ bytes: UnsafeRawBufferPointer) -> String {
    bytes.map { byte in
      let text = String(byte, radix: 16)
      return text.utf8.count == 1 ? "0" + text : text
    }.joined()
  }

  /// Every part with its type and length, so that no two keys are written alike.
  private static func encoded(_ key: EntityKey, _ columns: [String]) -> [UInt8] {
    var bytes: [UInt8] = []
    func add(_ tag: UInt8, _ text: String) {
      bytes.append(tag)
      withUnsafeBytes(of: UInt32(text.utf8.count).littleEndian) { bytes.append(contentsOf: $0) }
      bytes.append(contentsOf: text.utf8)
    }
    for column in columns { add(0, column) }
    for part in key.parts {
      switch part {
      case .int64(let number): add(1, String(number))
      case .string(let text): add(2, text)
      }
    }
    return bytes
  }
}
