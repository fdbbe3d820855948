import Core

// What keeps an event from being stored by two processes that each read a record of it.
extension StreamClaims {
  /// Every process hashes ids alike. It is no secret: whoever may choose an id needs no other one of the same hash.
  private static let seed = EventIDSeed(low: 0x9E37_79B9_7F4A_7C15, high: 0xC2B2_AE3D_27D4_EB4F)
  /// Ids that are made of a record's place, which no other record has.
  private static let placePrefix = "kafka:"

  /// The records without those whose event another record of the topic has brought, whichever process stores that.
  ///
  /// A record has an id, or has it not, for as long as the ledger remembers the id: so it makes no difference who reads it in the end, and how
  /// often.
  func withoutKnown(_ pushes: [StreamPush]) async throws -> [StreamPush] {
    var kept = pushes
    for (index, push) in pushes.enumerated() where push.rows.idsCanRepeat {
      let (identities, rows) = Self.identities(push)
      if identities.isEmpty { continue }
      let source = push.rows.source.name
      let known = try await lasting { try await self.ledger.claim(identities, of: source) }
      if known.isEmpty { continue }
      let left = Set(known.map { rows[$0] })
      let others = (0..<push.rows.count).filter { !left.contains($0) }
      kept[index].rows = push.rows.keeping(others)
      kept[index].rows.knownElsewhere += left.count
      kept[index].places = others.map { push.places[$0] }
    }
    return kept
  }

  private static func identities(_ push: StreamPush) -> ([StreamIdentity], rows: [Int]) {
    var identities: [StreamIdentity] = []
    var rows: [Int] = []
    identities.reserveCapacity(push.rows.count)
    rows.reserveCapacity(push.rows.count)
    for (row, place) in push.places.enumerated() {
      let id = push.rows.eventIDs[row]
      if id.hasPrefix(placePrefix) { continue }
      let hash = EventIDHash(id, seed: seed)
      identities.append(
        StreamIdentity(
          low: hash.low, high: UInt32(truncatingIfNeeded: hash.high >> 32),
          partition: place.partition, offset: place.offset))
      rows.append(row)
    }
    return (identities, rows)
  }
}
