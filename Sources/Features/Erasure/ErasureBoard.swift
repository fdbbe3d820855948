import Core

/// An erasure as every process is asked for that may have events of the key.
struct ErasureRequest: Sendable, Equatable {
  var id: String
  var subject: ErasureSubject
  var erasedAt: Timestamp
  /// The warehouse of the process that leads it, and of those that are asked.
  var leader: String
  var asked: [String]
}

/// What a process removed from its warehouse.
struct ErasureAnswer: Sendable, Equatable {
  var removed: [String: Int]
  /// By stored view, the keys that lost events.
  var keys: [String: [EntityKey]]
}

/// Some keys that all processes make anew together, while none of them takes events.
struct ErasureRound: Sendable {
  var renewals: [StateRenewal]

  var id: String { renewals.first?.id ?? "" }
}

/// What processes say of erasures that they do together.
///
/// The board `erasures` has the requests, one a field; of each a board of its own has `phase`, `round`, and by warehouse `ready@`,
/// `erased@` and `joined@`. They hold the key, and are cleared when the last process is done.
struct ErasureBoard: Sendable {
  enum Phase: Equatable {
    /// Who is there says so; nothing is removed yet.
    case asking
    /// Everybody removes the events of the key from its warehouse.
    case removing
    /// Everybody brings what it has of the keys of a round into their new states.
    case renewing(String)
    /// Everybody who is there is done; who is away removes the events when it is back.
    case waiting

    fileprivate var text: String {
      switch self {
      case .asking: "asking"
      case .removing: "removing"
      case .renewing(let round): "renewing \(round)"
      case .waiting: "waiting"
      }
    }

    fileprivate init?(_ text: String) {
      let words = text.split(separator: " ")
      switch (words.first, words.count) {
      case ("asking", 1): self = .asking
      case ("removing", 1): self = .removing
      case ("waiting", 1): self = .waiting
      case ("renewing", 2): self = .renewing(String(words[1]))
      default: return nil
      }
    }
  }

  struct State: Sendable {
    fileprivate var fields: [String: String]

    var phase: Phase? { fields["phase"].flatMap { Phase($0) } }
    /// The views that a process which is there has of the key's sources, as `ErasureBoard.sayReady` wrote them.
    func ready(_ warehouse: String) -> String? { fields["ready@\(warehouse)"] }
    func answer(of warehouse: String) -> ErasureAnswer? {
      fields["erased@\(warehouse)"].flatMap { ErasureAnswer($0) }
    }
    /// The round that a process has brought its events into.
    func joined(_ warehouse: String) -> String? { fields["joined@\(warehouse)"] }
    var round: ErasureRound? { fields["round"].flatMap { ErasureRound($0) } }
  }

  private static let requests = "erasures"

  let store: any SharedOnlineStore

  var here: String { store.warehouse }

  func requests() async throws -> [ErasureRequest] {
    try await store.read(board: Self.requests).compactMap { ErasureRequest(id: $0.key, $0.value) }
      .sorted { $0.erasedAt < $1.erasedAt }
  }

  func state(of id: String) async throws -> State {
    State(fields: try await store.read(board: Self.board(id)))
  }

  /// Asks, or asks again.
  func post(_ request: ErasureRequest, _ phase: Phase) async throws {
    // What is asked stands there before anybody is asked.
    try await say(phase, of: request.id)
    try await store.post([request.id: request.text], on: Self.requests)
  }

  func say(_ phase: Phase, of id: String, round: ErasureRound? = nil) async throws {
    var fields = ["phase": phase.text]
    if let round { fields["round"] = round.text }
    try await store.post(fields, on: Self.board(id))
  }

  func sayReady(_ id: String, views: String) async throws {
    try await store.post(["ready@\(here)": views], on: Self.board(id))
  }

  func say(_ answer: ErasureAnswer, of id: String) async throws {
    try await store.post(["erased@\(here)": answer.text], on: Self.board(id))
  }

  func sayJoined(_ round: ErasureRound, of id: String) async throws {
    try await store.post(["joined@\(here)": round.id], on: Self.board(id))
  }

  func withdraw(_ id: String) async throws {
    try await store.clear(Self.requests, field: id)
    try await store.clear(Self.board(id), field: nil)
  }

  private static func board(_ id: String) -> String { "erasure:\(id)" }

  /// Whether the process of a warehouse is there.
  func isThere(_ warehouse: String) async throws -> Bool {
    try await store.processes().contains { $0.warehouse == warehouse && $0.isThere }
  }

  func giveUp(_ round: ErasureRound) async throws {
    for renewal in round.renewals { try await store.giveUp(renewal) }
  }

  /// To be called before the events of this process's warehouse are brought online.
  ///
  /// Gives up the rounds that it had a part in before it was started, since what it brought then need not be all that it has; and removes
  /// from the warehouse what it was asked to while it was away.
  func prepareRestore(_ warehouse: any Warehouse, layouts: [ViewLayout]) async throws {
    for request in try await requests() where request.concerns(here) {
      let state = try await state(of: request.id)
      if case .renewing = state.phase, let round = state.round { try await giveUp(round) }
      guard request.leader != here, state.phase != .asking, state.answer(of: here) == nil else {
        continue
      }
      var transaction = ErasureTransaction(
        subject: request.subject, layouts: layouts, id: request.id, now: request.erasedAt,
        salt: try await EntityErasure.salt(warehouse))
      transaction.isLedElsewhere = true
      let removal = transaction
      _ = try await warehouse.transaction { try removal.run(on: $0) }
    }
  }
}

extension ErasureRequest {
  func concerns(_ warehouse: String) -> Bool { leader == warehouse || asked.contains(warehouse) }

  fileprivate var text: String {
    JSON.object([
      "entity": .string(subject.entity), "columns": .array(subject.columns.map { .string($0) }),
      "key": subject.key.json, "erased_at": .string(erasedAt.description),
      "leader": .string(leader), "asked": .array(asked.map { .string($0) }),
    ]).text
  }

  fileprivate init?(id: String, _ text: String) {
    guard let json = try? JSON(parsing: Array(text.utf8)), let entity = json["entity"]?.string,
      let key = json["key"].flatMap(EntityKey.init(json:)), let leader = json["leader"]?.string,
      let time = json["erased_at"]?.string, let erasedAt = try? Timestamp(iso8601: time)
    else { return nil }
    self.id = id
    subject = ErasureSubject(
      entity: entity, columns: (json["columns"]?.array ?? []).compactMap(\.string), key: key)
    self.erasedAt = erasedAt
    self.leader = leader
    asked = (json["asked"]?.array ?? []).compactMap(\.string)
  }
}

extension ErasureAnswer {
  fileprivate var text: String {
    JSON.object(["removed": removed.counts, "keys": keys.json]).text
  }

  fileprivate init?(_ text: String) {
    guard let json = try? JSON(parsing: Array(text.utf8)) else { return nil }
    removed = .init(counts: json["removed"])
    keys = .init(keys: json["keys"])
  }
}

extension ErasureRound {
  fileprivate var text: String {
    JSON.array(
      renewals.map { renewal in
        .object([
          "id": .string(renewal.id), "view": .string(renewal.view),
          "types": .array(renewal.keyTypes.map { .string($0.rawValue) }),
          "keys": .array(renewal.keys.map(\.json)),
        ])
      }
    ).text
  }

  fileprivate init?(_ text: String) {
    guard let json = try? JSON(parsing: Array(text.utf8)), let items = json.array else {
      return nil
    }
    renewals = items.compactMap { item in
      guard let id = item["id"]?.string, let view = item["view"]?.string else { return nil }
      return StateRenewal(
        id: id, view: view,
        keyTypes: (item["types"]?.array ?? []).compactMap {
          $0.string.flatMap { ColumnType(rawValue: $0) }
        }, keys: (item["keys"]?.array ?? []).compactMap(EntityKey.init(json:)))
    }
  }
}

extension EntityKey {
  var json: JSON { .array(parts.map { JSON($0.value) }) }

  init?(json: JSON) {
    guard let parts = json.array, let key = EntityKey(parts.map { $0.scalar ?? .null }) else {
      return nil
    }
    self = key
  }
}

extension [String: [EntityKey]] {
  var json: JSON {
    .object(sorted { $0.key < $1.key }.map { .init($0.key, .array($0.value.map(\.json))) })
  }

  init(keys json: JSON?) {
    guard case .object(let views) = json else {
      self = [:]
      return
    }
    self.init(
      views.map { ($0.key, ($0.value.array ?? []).compactMap(EntityKey.init(json:))) }
    ) { first, _ in first }
  }

  /// Adds keys that are not there yet.
  mutating func merge(keys more: [String: [EntityKey]]) {
    for (view, keys) in more {
      let known = Set(self[view] ?? [])
      self[view, default: []] += keys.filter { !known.contains($0) }
    }
  }
}

extension [String: Int] {
  var counts: JSON {
    .object(sorted { $0.key < $1.key }.map { .init($0.key, .int(Int64($0.value))) })
  }

  init(counts json: JSON?) {
    guard case .object(let counts) = json else {
      self = [:]
      return
    }
    self.init(counts.map { ($0.key, Int($0.value.int ?? 0)) }) { first, _ in first }
  }
}
