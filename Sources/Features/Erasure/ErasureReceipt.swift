import Core

/// What went from where; never the key itself.
package struct ErasureReceipt: Sendable, Equatable {
  /// What another process did, whose events are in a warehouse of its own.
  package struct Share: Sendable, Equatable {
    package var warehouse: String
    package var name: String
    /// Rows by place; nil where the process is away and has not erased yet.
    package var removed: [String: Int]?
  }

  package var id: String
  package var entity: String
  /// Of the key, under the installation's salt.
  package var digest: String
  package var erasedAt: Timestamp
  /// Rows or states by place.
  package var removed: [String: Int]
  /// Other keys whose online state was made anew, since events of theirs went.
  package var rebuiltKeys: Int
  package var isDone: Bool
  /// Other processes that fill the same views; none where there are none.
  package var others: [Share] = []

  /// `done`; `waiting` for processes that are away; `running` else.
  package var state: String {
    if isDone { return "done" }
    return others.contains { $0.removed == nil } ? "waiting" : "running"
  }

  /// What is not done yet, and what to do about it; nil where nothing is left.
  package var note: String? {
    let away = others.filter { $0.removed == nil }
    if isDone || away.isEmpty { return nil }
    return
      "\(away.map { "\($0.name) (warehouse \($0.warehouse))" }.joined(separator: ", ")) was away: until it is started again it keeps "
      + "its events of the key, the request in Redis names the key, and online features of other keys keep what the removed events had added "
      + "to them; the erasure then ends by itself"
  }

  package var json: JSON {
    .object([
      "id": .string(id), "entity": .string(entity), "digest": .string(digest),
      "erased_at": .string(erasedAt.description), "state": .string(state),
      "removed": removed.counts, "rebuilt_keys": .int(Int64(rebuiltKeys)),
      "processes": .array(
        others.map { share in
          .object([
            "warehouse": .string(share.warehouse), "name": .string(share.name),
            "state": .string(share.removed == nil ? "waiting" : "done"),
            "removed": (share.removed ?? [:]).counts,
          ])
        }), "note": note.map { .string($0) } ?? .null,
    ])
  }

  init(
    id: String, entity: String, digest: String, erasedAt: Timestamp, removed: [String: Int] = [:],
    rebuiltKeys: Int = 0, isDone: Bool = false
  ) {
    self.id = id
    self.entity = entity
    self.digest = digest
    self.erasedAt = erasedAt
    self.removed = removed
    self.rebuiltKeys = rebuiltKeys
    self.isDone = isDone
  }

  init?(json: JSON) {
    guard let id = json["id"]?.string, let entity = json["entity"]?.string,
      let digest = json["digest"]?.string, let time = json["erased_at"]?.string,
      let erasedAt = try? Timestamp(iso8601: time), case .object = json["removed"]
    else { return nil }
    self.init(
      id: id, entity: entity, digest: digest, erasedAt: erasedAt,
      removed: .init(counts: json["removed"]), rebuiltKeys: Int(json["rebuilt_keys"]?.int ?? 0),
      isDone: json["state"]?.string == "done")
    others = (json["processes"]?.array ?? []).compactMap { share in
      guard let warehouse = share["warehouse"]?.string else { return nil }
      return Share(
        warehouse: warehouse, name: share["name"]?.string ?? warehouse,
        removed: share["state"]?.string == "done" ? .init(counts: share["removed"]) : nil)
    }
  }
}
