import Core

/// Where a key lies between 0 and 1: the same in every process, on every platform, for ever.
///
/// FNV-1a over the model's name and the key columns in the order of the definitions, each with its length before it, so that
/// composite keys stay composite; then the finalizer of MurmurHash3, because FNV alone leaves the high bits of short keys
/// uneven. Swift's own `Hasher` is seeded anew in every process and cannot be used. The value is a contract: a change of it
/// would move the keys of every canary that runs.
package struct StickyHash: Sendable {
  private var state: UInt64 = 0xCBF2_9CE4_8422_2325

  /// - Parameter model: keys of two models are not drawn together.
  package init(model: String) { add(model) }

  package mutating func add(_ text: String) {
    var text = text
    text.withUTF8 { bytes in
      var length = UInt64(bytes.count)
      for _ in 0..<4 {
        mix(UInt8(truncatingIfNeeded: length))
        length >>= 8
      }
      for byte in bytes { mix(byte) }
    }
  }

  /// A whole number is hashed as it is written, so that 7, 7.0 and "7" of different clients are one key.
  package mutating func add(_ value: Value) {
    switch value {
    case .int64(let number): add(String(number))
    case .double(let number): add(Int64(exactly: number).map { String($0) } ?? "\(number)")
    case .string(let text): add(text)
    case .bool(let flag): add(flag ? "true" : "false")
    case .timestamp(let time): add(String(time.microseconds))
    case .null, .list: add("")
    }
  }

  private mutating func mix(_ byte: UInt8) {
    state = (state ^ UInt64(byte)) &* 0x0000_0100_0000_01B3
  }

  /// Uniform in [0, 1).
  package var position: Double {
    var mixed = state
    mixed = (mixed ^ (mixed >> 33)) &* 0xFF51_AFD7_ED55_8CCD
    mixed = (mixed ^ (mixed >> 33)) &* 0xC4CE_B9FE_1A85_EC53
    return Double((mixed ^ (mixed >> 33)) >> 11) * 0x1p-53
  }
}

/// What of a request a model is routed by: the key columns of its entities.
package struct RoutingKey: Sendable {
  private let model: String
  /// In the order of the model's entities.
  private let columns: [(column: String, alias: String?)]

  package init(_ model: ModelDefinition, entities: [EntityDefinition]) {
    self.model = model.name
    columns = model.entities.flatMap { name in
      let key = entities.first { $0.name == name }?.key ?? [name]
      return key.map { ($0, key.count == 1 ? name : nil) }
    }
  }

  /// Where a row lies between 0 and 1; a row that names no entity goes by the id of its request.
  package func position(of row: RequestRow, requestID: String) -> Double {
    var hash = StickyHash(model: model)
    var isKnown = false
    for (column, alias) in columns {
      let value = row[column] ?? alias.flatMap { row[$0] } ?? .null
      if !value.isNull { isKnown = true }
      hash.add(value)
    }
    if isKnown { return hash.position }
    hash = StickyHash(model: model)
    hash.add(requestID)
    return hash.position
  }
}
