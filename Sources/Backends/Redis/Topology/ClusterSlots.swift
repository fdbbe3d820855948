/// Where keys lie in a Cluster (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec).
package enum ClusterSlots {
  package static let count = 16_384

  /// The slot of a key: of the text in its first braces where there is one, else of the whole key.
  package static func slot(of key: [UInt8]) -> UInt16 {
    crc16(hashTag(of: key)) % UInt16(count)
  }

  package static func hashTag(of key: [UInt8]) -> ArraySlice<UInt8> {
    guard let open = key.firstIndex(of: UInt8(ascii: "{")),
      let close = key[(open + 1)...].firstIndex(of: UInt8(ascii: "}")), close > open + 1
    else { return key[...] }
    return key[(open + 1)..<close]
  }

  /// CRC-16/XMODEM.
  package static func crc16(_ bytes: ArraySlice<UInt8>) -> UInt16 {
    var crc: UInt16 = 0
    for byte in bytes { crc = crc << 8 ^ table[Int(UInt8(crc >> 8) ^ byte)] }
    return crc
  }

  private static let table: [UInt16] = (0..<256).map { index in
    var crc = UInt16(index) << 8
    for _ in 0..<8 { crc = crc & 0x8000 != 0 ? crc << 1 ^ 0x1021 : crc << 1 }
    return crc
  }
}

/// A server's answer that a command belongs elsewhere.
package enum ClusterRedirect: Equatable {
  /// For good: the slot has another owner.
  case moved(slot: UInt16, RedisAddress)
  /// For this command only: the slot is on its way there.
  case ask(RedisAddress)
  /// The command is to be repeated a little later.
  case later

  /// Nil for a reply that is none.
  ///
  /// - Parameter asked: who said so; an answer without a host means the same host.
  package init?(_ reply: RESPValue, from asked: RedisAddress) {
    guard case .error(let text) = reply else { return nil }
    let words = text.split(separator: " ")
    switch words.first {
    case "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "LOADING": self = .later
    case "MOVED", "ASK":
      guard words.count == 3, let slot = UInt16(words[1]), slot < ClusterSlots.count,
        let address = ClusterRedirect.address(words[2], from: asked)
      else { return nil }
      self = words[0] == "MOVED" ? .moved(slot: slot, address) : .ask(address)
    default: return nil
    }
  }

  /// `host:port`, where an address of IPv6 stands without brackets and the host may be missing.
  private static func address(_ text: Substring, from asked: RedisAddress) -> RedisAddress? {
    guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
      (1...65_535).contains(port)
    else { return nil }
    let host = text[..<colon]
    return RedisAddress(host: host.isEmpty || host == "?" ? asked.host : String(host), port: port)
  }
}

/// Which master has which slot.
package struct SlotTable: Sendable, Equatable {
  private var owners: [Int16]
  package private(set) var masters: [RedisAddress]

  package init() {
    owners = Array(repeating: -1, count: ClusterSlots.count)
    masters = []
  }

  /// Reads the answer to `CLUSTER SLOTS`; nil for anything else.
  package init?(_ reply: RESPValue, from asked: RedisAddress) {
    guard let ranges = reply.array else { return nil }
    self.init()
    for range in ranges {
      guard let parts = range.array, parts.count >= 3, let first = parts[0].integer,
        let last = parts[1].integer, 0...Int64(ClusterSlots.count - 1) ~= first,
        first...Int64(ClusterSlots.count - 1) ~= last, let node = parts[2].array, node.count >= 2,
        let port = node[1].integer.flatMap({ Int(exactly: $0) }), (1...65_535).contains(port)
      else { return nil }
      // A node that does not know its own address leaves it out.
      let host = node[0].text ?? ""
      let address = RedisAddress(host: host.isEmpty || host == "?" ? asked.host : host, port: port)
      for slot in first...last { assign(UInt16(slot), to: address) }
    }
  }

  package mutating func assign(_ slot: UInt16, to address: RedisAddress) {
    let index = masters.firstIndex(of: address) ?? masters.count
    if index == masters.count { masters.append(address) }
    owners[Int(slot)] = Int16(index)
  }

  /// Nil for a slot that nobody has.
  package func owner(of slot: UInt16) -> RedisAddress? {
    let index = owners[Int(slot)]
    return index < 0 ? nil : masters[Int(index)]
  }
}
