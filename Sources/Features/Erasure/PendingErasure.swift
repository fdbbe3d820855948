import Core

/// What is left to do of an erasure once its events are gone: kept in the warehouse until it is done, so that a crash at any
/// instant leaves nothing half erased. It holds the key, and is emptied at the end.
struct PendingErasure: Sendable {
  var receipt: ErasureReceipt
  var subject: ErasureSubject
  /// By stored view, the keys that lost events.
  var online: [String: [EntityKey]]
  /// Other processes that do the same in their warehouses, where this one leads them.
  var asked: [SharedProcess] = []
  /// Whether another process leads, which sees to the online state.
  var isLedElsewhere = false
  /// Whether all that could be done without those that are away is done.
  var waits = false

  var json: JSON {
    .object([
      "columns": .array(subject.columns.map { .string($0) }), "key": subject.key.json,
      "online": online.json, "led_elsewhere": .bool(isLedElsewhere), "waits": .bool(waits),
      "asked": .array(
        asked.map { .object(["warehouse": .string($0.warehouse), "name": .string($0.name)]) }),
    ])
  }

  init(receipt: ErasureReceipt, subject: ErasureSubject, online: [String: [EntityKey]]) {
    self.receipt = receipt
    self.subject = subject
    self.online = online
  }

  init?(receipt: ErasureReceipt, json: JSON) {
    guard let columns = json["columns"]?.array, let key = json["key"].flatMap(EntityKey.init(json:))
    else { return nil }
    self.receipt = receipt
    subject = ErasureSubject(
      entity: receipt.entity, columns: columns.compactMap(\.string), key: key)
    online = .init(keys: json["online"])
    asked = (json["asked"]?.array ?? []).compactMap { process in
      guard let warehouse = process["warehouse"]?.string else { return nil }
      return SharedProcess(
        warehouse: warehouse, name: process["name"]?.string ?? warehouse, isThere: false)
    }
    isLedElsewhere = json["led_elsewhere"] == .bool(true)
    waits = json["waits"] == .bool(true)
  }
}
