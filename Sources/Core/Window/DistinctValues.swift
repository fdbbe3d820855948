/// A set of values that can be counted: exact up to `exactLimit` distinct values, then a HyperLogLog estimate.
///
/// Guarantees: the answer depends on the set of values alone, not on their order or on how they were spread over tiles. The estimate's
/// standard error is 1.04 / √8192 = 1.15 % (Flajolet et al. 2007), read out by Ertl's improved estimator (2017, "New cardinality
/// estimation algorithms for HyperLogLog sketches", algorithm 6), which needs no correction tables. Values are told apart by a 64-bit
/// hash, the same in every process: two of n values are taken for one with a chance of n² / 2⁶⁵.
package struct DistinctValues: Sendable, Equatable {
  /// A window with so many distinct values or fewer is counted exactly.
  package static let exactLimit = 1024
  static let precision = 13
  private static let registers = 1 << precision

  /// Sorted; empty once `ranks` is in use.
  package private(set) var hashes: [UInt64] = []
  /// HyperLogLog registers, empty up to `exactLimit` values.
  package private(set) var ranks: [UInt8] = []

  package init() {}

  /// Nil where the parts are not what another instance had.
  package init?(hashes: [UInt64], ranks: [UInt8]) {
    let isSorted = zip(hashes, hashes.dropFirst()).allSatisfy { $0 < $1 }
    guard isSorted, hashes.count <= Self.exactLimit,
      ranks.isEmpty || (hashes.isEmpty && ranks.count == Self.registers),
      ranks.allSatisfy({ $0 <= 64 - Self.precision + 1 })
    else { return nil }
    self.hashes = hashes
    self.ranks = ranks
  }

  package mutating func add(_ value: Value) { add(hash: StableHash.of(value)) }

  mutating func add(hash: UInt64) {
    guard ranks.isEmpty else { return note(hash) }
    var low = 0
    var high = hashes.count
    while low < high {
      let middle = (low + high) / 2
      if hashes[middle] < hash { low = middle + 1 } else { high = middle }
    }
    if low < hashes.count, hashes[low] == hash { return }
    hashes.insert(hash, at: low)
    if hashes.count > Self.exactLimit { condense() }
  }

  package mutating func merge(_ other: DistinctValues) {
    guard other.ranks.isEmpty else {
      if ranks.isEmpty { condense() }
      for register in ranks.indices where ranks[register] < other.ranks[register] {
        ranks[register] = other.ranks[register]
      }
      return
    }
    guard ranks.isEmpty else {
      for hash in other.hashes { note(hash) }
      return
    }
    guard !hashes.isEmpty else {
      hashes = other.hashes
      return
    }
    mergeSorted(other.hashes)
    if hashes.count > Self.exactLimit { condense() }
  }

  private mutating func mergeSorted(_ more: [UInt64]) {
    var merged = [UInt64](reserving: hashes.count + more.count)
    var next = 0
    for hash in hashes {
      while next < more.count, more[next] < hash {
        merged.append(more[next])
        next += 1
      }
      if next < more.count, more[next] == hash { next += 1 }
      merged.append(hash)
    }
    merged.append(contentsOf: more[next...])
    hashes = merged
  }

  private mutating func condense() {
    ranks = [UInt8](repeating: 0, count: Self.registers)
    for hash in hashes { note(hash) }
    hashes = []
  }

  private mutating func note(_ hash: UInt64) {
    let register = Int(hash >> UInt64(64 - Self.precision))
    // A one behind the remaining bits bounds the rank.
    let rest = hash << UInt64(Self.precision) | 1 << UInt64(Self.precision - 1)
    let rank = UInt8(rest.leadingZeroBitCount + 1)
    if ranks[register] < rank { ranks[register] = rank }
  }

  package var count: Int64 {
    ranks.isEmpty ? Int64(hashes.count) : Int64(estimate.rounded())
  }

  private var estimate: Double {
    let last = 64 - Self.precision
    var multiplicity = [Int](repeating: 0, count: last + 2)
    for rank in ranks { multiplicity[Int(rank)] += 1 }
    let size = Double(Self.registers)
    var z = size * Self.tau(1 - Double(multiplicity[last + 1]) / size)
    for rank in stride(from: last, through: 1, by: -1) {
      z = 0.5 * (z + Double(multiplicity[rank]))
    }
    z += size * Self.sigma(Double(multiplicity[0]) / size)
    // α∞ = 1 / (2 ln 2)
    return 0.721_347_520_444_481_7 * size * size / z
  }

  private static func sigma(_ share: Double) -> Double {
    guard share < 1 else { return .infinity }
    var (x, y, z) = (share, 1.0, share)
    while true {
      x *= x
      let before = z
      z += x * y
      y += y
      if z == before { return z }
    }
  }

  private static func tau(_ share: Double) -> Double {
    guard share > 0, share < 1 else { return 0 }
    var (x, y, z) = (share, 1.0, 1 - share)
    while true {
      x = x.squareRoot()
      let before = z
      y *= 0.5
      z -= (1 - x) * (1 - x) * y
      if z == before { return z / 3 }
    }
  }
}

/// A 64-bit hash of values that is the same in every process and version, for what is stored.
enum StableHash {
  static func of(_ value: Value) -> UInt64 {
    switch value {
    case .null: return mixed(0)
    case .bool(let value): return mixed(value ? 1 : 2)
    case .int64(let value): return mixed(UInt64(bitPattern: value) ^ 0x6A09_E667_F3BC_C908)
    case .double(let value):
      // Minus zero is zero.
      return mixed((value == 0 ? 0 : value).bitPattern ^ 0xBB67_AE85_84CA_A73B)
    case .timestamp(let value):
      return mixed(UInt64(bitPattern: value.microseconds) ^ 0x3C6E_F372_FE94_F82B)
    case .string(var text): return text.withUTF8 { of(UnsafeRawBufferPointer($0)) }
    case .list(let elements):
      return elements.scalars.reduce(mixed(UInt64(elements.count) ^ 0x510E_527F_ADE6_82D1)) {
        mixed($0 ^ of($1))
      }
    }
  }

  /// Eight bytes at a time, folded by a full multiplication.
  static func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    var hash = mixed(UInt64(truncatingIfNeeded: bytes.count) ^ 0xA54F_F53A_5F1D_36F1)
    var offset = 0
    while offset < bytes.count {
      var word: UInt64 = 0
      for byte in 0..<min(8, bytes.count - offset) {
        word |= UInt64(bytes[offset + byte]) << UInt64(8 * byte)
      }
      hash = mixed(hash ^ word)
      offset += 8
    }
    return hash
  }

  /// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): every bit depends on every bit.
  private static func mixed(_ value: UInt64) -> UInt64 {
    var z = value &+ 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
