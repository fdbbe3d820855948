import Core
import Foundation

/// The 128-bit hash of an event id.
package struct EventIDHash: Hashable {
  package var low: UInt64
  package var high: UInt64

  /// Two independent multiply-fold hashes of the id's UTF-8 under two halves of a seed (after
  /// wyhash, Wang Yi 2019).
  @inline(__always)
  package init(_ id: String, seed: EventIDSeed) {
    var id = id
    self = id.withUTF8 { EventIDHash($0, seed: seed) }
  }

  @inline(__always)
  package init(_ bytes: UnsafeBufferPointer<UInt8>, seed: EventIDSeed) {
    let raw = UnsafeRawBufferPointer(bytes)
    let count = raw.count
    var a = seed.low ^ UInt64(count)
    var b = seed.high ^ UInt64(count)
    var at = 0
    while count - at > 16 {
      let x = raw.loadUnaligned(fromByteOffset: at, as: UInt64.self)
      let y = raw.loadUnaligned(fromByteOffset: at + 8, as: UInt64.self)
      a = fold(x ^ a, y ^ 0xA076_1D64_78BD_642F)
      b = fold(x ^ 0xE703_7ED1_A0B4_28DB, y ^ b)
      at += 16
    }
    var x: UInt64 = 0
    var y: UInt64 = 0
    let rest = count - at
    if rest > 8 {
      x = raw.loadUnaligned(fromByteOffset: at, as: UInt64.self)
      y = tail(raw, at + 8, rest - 8)
    } else {
      x = tail(raw, at, rest)
    }
    a = fold(x ^ a ^ 0x8EBC_6AF0_9C88_C6E3, y ^ 0xA076_1D64_78BD_642F)
    b = fold(x ^ 0x5899_65CC_7537_4CC3, y ^ b ^ 0xE703_7ED1_A0B4_28DB)
    low = fold(a ^ seed.low, 0x1D8E_4E27_C47D_124F)
    // Zero marks a free place of the index.
    high = fold(b ^ seed.high, 0xEB44_ACCA_B455_D165) | 1
  }
}

/// The secret of the hashes; drawn once per process, so that nobody can make ids collide.
package struct EventIDSeed: Sendable {
  package var low: UInt64
  package var high: UInt64

  package init(low: UInt64, high: UInt64) {
    self.low = low
    self.high = high
  }

  package static func random() -> EventIDSeed {
    EventIDSeed(low: .random(in: .min ... .max), high: .random(in: .min ... .max))
  }
}

@inline(__always)
private func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
  let product = a.multipliedFullWidth(by: b)
  return product.low ^ product.high
}

/// The last `count` (at most 8) bytes from `at` as a number.
@inline(__always)
private func tail(_ raw: UnsafeRawBufferPointer, _ at: Int, _ count: Int) -> UInt64 {
  if count == 8 { return raw.loadUnaligned(fromByteOffset: at, as: UInt64.self) }
  if count >= 4 {
    let first = UInt64(raw.loadUnaligned(fromByteOffset: at, as: UInt32.self))
    let last = UInt64(raw.loadUnaligned(fromByteOffset: at + count - 4, as: UInt32.self))
    return first | last << 32
  }
  var value: UInt64 = 0
  for index in 0..<count { value |= UInt64(raw[at + index]) << UInt64(index * 8) }
  return value
}

/// The set of a source's event ids that may come again: 16 bytes a place, at most three quarters
/// full.
///
/// Exact up to a collision of 127-bit hashes: among a billion ids the chance of one is below 10⁻²⁰.
package struct EventIDIndex: Sendable {
  private var lows: [UInt64]
  private var highs: [UInt64]
  private var mask: Int
  package private(set) var count = 0

  package init(expecting ids: Int = 0) {
    var capacity = 1_024
    while capacity * 3 / 4 < ids { capacity *= 2 }
    lows = [UInt64](repeating: 0, count: capacity)
    highs = [UInt64](repeating: 0, count: capacity)
    mask = capacity - 1
  }

  package func contains(_ hash: EventIDHash) -> Bool { highs[place(of: hash)] != 0 }

  /// True where the id was not there before.
  @inline(__always)
  package mutating func insert(_ hash: EventIDHash) -> Bool {
    let place = place(of: hash)
    if highs[place] != 0 { return false }
    lows[place] = hash.low
    highs[place] = hash.high
    count += 1
    if count > (mask + 1) / 4 * 3 { grow() }
    return true
  }

  /// Takes an id out, moving later ones of its run up so that they are still found.
  package mutating func remove(_ hash: EventIDHash) {
    var hole = place(of: hash)
    guard highs[hole] != 0 else { return }
    count -= 1
    var next = (hole + 1) & mask
    while highs[next] != 0 {
      let home = Int(truncatingIfNeeded: lows[next]) & mask
      if (next - home) & mask >= (next - hole) & mask {
        lows[hole] = lows[next]
        highs[hole] = highs[next]
        hole = next
      }
      next = (next + 1) & mask
    }
    highs[hole] = 0
  }

  /// Where the id is, or the free place where it would be.
  @inline(__always)
  private func place(of hash: EventIDHash) -> Int {
    var place = Int(truncatingIfNeeded: hash.low) & mask
    return lows.withUnsafeBufferPointer { lows in
      highs.withUnsafeBufferPointer { highs in
        while highs[place] != 0, lows[place] != hash.low || highs[place] != hash.high {
          place = (place + 1) & mask
        }
        return place
      }
    }
  }

  private mutating func grow() {
    var larger = EventIDIndex(expecting: (mask + 1) * 3 / 4 + 1)
    for place in 0...mask where highs[place] != 0 {
      let free = larger.freePlace(lows[place])
      larger.lows[free] = lows[place]
      larger.highs[free] = highs[place]
    }
    larger.count = count
    self = larger
  }

  private func freePlace(_ low: UInt64) -> Int {
    var place = Int(truncatingIfNeeded: low) & mask
    while highs[place] != 0 { place = (place + 1) & mask }
    return place
  }
}
