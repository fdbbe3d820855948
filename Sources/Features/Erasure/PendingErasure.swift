import Core

/// What is left to do of an erasure once its events are gone: kept in the warehouse until it is done, so that a crash at any
/// instant leaves nothing half erased. It holds the key, and is emptied at the end.
struct PendingErasure: Sendable {
  var receipt: ErasureReceipt
  var subject: ErasureSubject
  /// By stored view, the keys that lost events.
  var online: [String: [EntityKey]]

  var json: JSON {
    .object([
      "columns": .array(subject.columns.map { .string($0) }), "key": Self.json(subject.key),
      "online": .object(
        online.sorted { $0.key < $1.key }.map { .init($0.key, .array($0.value.map(Self.json))) }),
    ])
  }

  init(receipt: ErasureReceipt, subject: ErasureSubject, online: [String: [EntityKey]]) {
    self.receipt = receipt
    self.subject = subject
    self.online = online
  }

  init?(receipt: ErasureReceipt, json: JSON) {
    guard let columns = json["columns"]?.array, let key = json["key"].flatMap(Self.key),
      case .object(let views) = json["online"]
    else { return nil }
    self.receipt = receipt
    subject = ErasureSubject(
      entity: receipt.entity, columns: columns.compactMap(\.string), key: key)
    online = Dictionary(
      views.map { ($0.key, ($0.value.array ?? []).compactMap(Self.key)) }
    ) { first, _ in first }
  }

  private static func json(_ key: EntityKey) -> JSON { .array(key.parts.map { JSON($0.value) }) }
  private static func key(_ json: JSON) -> EntityKey? {
    json.array.flatMap { EntityKey($0.map { $0.scalar ?? .null }) }
  }
}
