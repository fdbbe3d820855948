import Core
import Workers

/// Which versions are to be loaded, which are, and which of them answer; a value, so that every order of events can be tested.
///
/// A model has a slot for each stage that answers or is watched. The production slot keeps its version until the next one is
/// loaded; the others are emptied as soon as the registry wants something else in them.
struct ServingSlots: Sendable {
  /// A stage of a model.
  struct Slot: Hashable, Sendable {
    var model: String
    var stage: ModelStage
  }

  /// Versions besides those in slots that callers named and that stay loaded.
  private static let maximumExtras = 4
  static let stages: [ModelStage] = [.production, .canary, .shadow]

  /// Newest use last.
  private(set) var extras: [ServedModel] = []
  private(set) var wanted: [Slot: ModelVersion] = [:]
  private(set) var served: [Slot: ServedModel] = [:]
  private(set) var failures: [Slot: String] = [:]
  private var shares: [String: Double] = [:]
  private(set) var routes: [String: RouteTable] = [:]

  var production: [String: ServedModel] {
    Dictionary(
      served.filter { $0.key.stage == .production }.map { ($0.key.model, $0.value) }
    ) { first, _ in first }
  }

  // MARK: Events

  /// What the registry wants now.
  ///
  /// - Parameter unloaded: models of which nothing is to be loaded.
  /// - Returns: what is to be loaded, and what is to be let go.
  mutating func follow(
    _ snapshot: Snapshot, without unloaded: Set<String>, _ make: (ModelVersion) -> ServedModel
  ) -> (load: [Slot], unload: [ModelKey]) {
    let before = held
    var now: [Slot: ModelVersion] = [:]
    for model in snapshot.models.keys where !unloaded.contains(model) {
      for stage in Self.stages {
        if let version = snapshot.version(of: model, in: stage) {
          now[Slot(model: model, stage: stage)] = version
        }
      }
    }
    var load: [Slot] = []
    let loaded = Dictionary((served.values + extras).map { ($0.key, $0) }) { first, _ in first }
    for (slot, version) in now where wanted[slot]?.version != version.version {
      failures[slot] = nil
      let key = ModelKey(model: version.model, version: version.version)
      if loaded[key] != nil {
        served[slot] = make(version)
        extras.removeAll { $0.key == key }
      } else {
        if slot.stage != .production { served[slot] = nil }
        load.append(slot)
      }
    }
    for slot in Array(served.keys) where now[slot] == nil { served[slot] = nil }
    for slot in Array(failures.keys) where now[slot] == nil { failures[slot] = nil }
    wanted = now
    shares = snapshot.canaries.mapValues(\.share)
    rebuild()
    return (load, before.subtracting(needed).map { $0 })
  }

  /// A version was loaded for a slot.
  ///
  /// - Returns: whether it is in, and what is to be let go.
  mutating func loaded(
    _ slot: Slot, _ new: ServedModel
  ) -> (isIn: Bool, unload: [ModelKey]) {
    var before = held
    before.insert(new.key)
    let isIn = wanted[slot]?.version == new.version
    if isIn {
      failures[slot] = nil
      served[slot] = new
      extras.removeAll { $0.key == new.key }
    }
    rebuild()
    return (isIn, before.subtracting(needed).map { $0 })
  }

  mutating func failed(_ slot: Slot, version: Int64, _ message: String) {
    guard wanted[slot]?.version == version else { return }
    failures[slot] = message
    rebuild()
  }

  /// A version that a caller asked for was loaded.
  ///
  /// - Returns: what is to be let go.
  mutating func keep(_ new: ServedModel, isProduction: Bool) -> [ModelKey] {
    let before = held
    let slot = Slot(model: new.key.model, stage: .production)
    if isProduction, (wanted[slot]?.version ?? new.version) == new.version, served[slot] == nil {
      served[slot] = new
    } else if !served.values.contains(where: { $0.key == new.key }) {
      extras.removeAll { $0.key == new.key }
      extras.append(new)
      extras.removeFirst(max(0, extras.count - Self.maximumExtras))
    }
    rebuild()
    return before.subtracting(needed).map { $0 }
  }

  /// Nothing of a model is wanted any more.
  ///
  /// - Returns: what is to be let go.
  mutating func drop(_ model: String) -> [ModelKey] {
    let before = held
    extras.removeAll { $0.key.model == model }
    for stage in Self.stages {
      let slot = Slot(model: model, stage: stage)
      served[slot] = nil
      wanted[slot] = nil
      failures[slot] = nil
    }
    rebuild()
    return before.subtracting(needed).map { $0 }
  }

  /// A version turned out not to be loaded.
  ///
  /// - Returns: the slots that must be loaded anew.
  mutating func forget(_ key: ModelKey) -> [Slot] {
    extras.removeAll { $0.key == key }
    let lost = served.filter { $0.value.key == key }.map(\.key)
    for slot in lost { served[slot] = nil }
    rebuild()
    return lost.filter { $0.stage != .production && wanted[$0]?.version == key.version }
  }

  // MARK: Questions

  func named(_ number: Int64, of model: String) -> ServedModel? {
    for stage in Self.stages {
      if let found = served[Slot(model: model, stage: stage)], found.version == number {
        return found
      }
    }
    return extras.first { $0.version == number && $0.key.model == model }
  }

  private var held: Set<ModelKey> {
    Set(served.values.map(\.key)).union(extras.map(\.key))
  }

  /// What must not be let go: what answers, and what is being loaded.
  private var needed: Set<ModelKey> {
    held.union(wanted.values.map { ModelKey(model: $0.model, version: $0.version) })
  }

  private mutating func rebuild() {
    let models = Set(served.keys.map(\.model)).union(wanted.keys.map(\.model))
    var tables: [String: RouteTable] = [:]
    for model in models {
      let slot = Slot(model: model, stage: .canary)
      let canary = wanted[slot].map { version in
        RouteTable.Canary(
          version: version.version, share: shares[model] ?? RolloutDefinition.defaultShare,
          served: served[slot], failure: failures[slot])
      }
      tables[model] = RouteTable(
        production: served[Slot(model: model, stage: .production)], canary: canary,
        shadow: served[Slot(model: model, stage: .shadow)])
    }
    routes = tables
  }
}
