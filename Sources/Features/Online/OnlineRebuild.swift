import Core
import Synchronization

/// What a comparison of a view's stored states with the warehouse found.
package struct RebuildReport: Sendable, Equatable {
  /// A feature that reads otherwise than the warehouse says, or will.
  package struct Difference: Sendable, Equatable {
    package var key: String
    package var feature: String
    package var stored: String
    package var expected: String
  }

  package var view: String
  /// Keys that were compared.
  package var keys = 0
  /// Of them and of those that should not be there, how many differ.
  package var differing = 0
  /// How many were put right.
  package var mended = 0
  /// The first of them.
  package var differences: [Difference] = []
}

extension OnlineState {
  /// Keys whose states are made anew in memory at once.
  private static let keysAtOnce = 200_000
  /// Keys that are compared while ingest waits.
  private static let keysWhileWaiting = 500

  /// Makes the states of views anew from the warehouse and compares the store with them; what differs is put right, unless
  /// `verifiesOnly`.
  ///
  /// Live writes go on and wait for some hundred keys at a time. The answer for a key is the truth of the moment at which it was
  /// compared. Latest values older than their source keeps events are left as they are.
  /// - Parameters:
  ///   - names: views; empty is all.
  ///   - limit: the most differences that are told of each view; all are counted.
  /// - Throws: `failed_precondition` for a store without that ability, `not_found` for an unknown view.
  package func rebuild(
    _ names: [String], verifiesOnly: Bool, limit: Int
  ) async throws -> [RebuildReport] {
    guard let store = store as? any RepairableOnlineStore else {
      throw PlatformError(
        .failedPrecondition,
        "the online store is in memory, which every start makes from the warehouse; there is nothing to rebuild"
      )
    }
    let project = visible.current.project
    for name in names where project.view(name) == nil {
      throw PlatformError(
        .notFound,
        "there is no view '\(name)'\(suggestion(for: name, among: project.views.map(\.name)))")
    }
    let wanted = project.views.map(\.name).filter { names.isEmpty || names.contains($0) }
    try await requireWhole(wanted, to: "compare or rebuild them")
    if !verifiesOnly { try await mend() }
    var reports: [RebuildReport] = []
    for view in project.views where wanted.contains(view.name) {
      guard var layout = visible.current.layouts[view.name],
        let source = project.source(view.source)
      else { continue }
      layout.view = layout.storageName
      var walk = RebuildWalk(
        view: view.name, layout: layout, source: source, verifiesOnly: verifiesOnly, limit: limit)
      try await compare(&walk, store)
      try await removeStrangers(&walk, store)
      reports.append(walk.report)
    }
    return reports
  }

  private func compare(
    _ walk: inout RebuildWalk, _ store: any RepairableOnlineStore
  ) async throws {
    let parts = try await parts(of: walk.layout)
    for part in 0..<parts {
      let scratch = ScratchStore(walk.layout)
      let replay = WarehouseReplay(warehouse: warehouse, store: scratch)
      var through = Int64.min
      let condition = "hash(\(Self.columns(walk.layout))) % \(parts) = \(part)"
      let (layout, source) = (walk.layout, walk.source)
      func catchUp() async throws {
        let applied = applied(source.name) ?? .min
        guard applied > through else { return }
        try await replay.run(
          source, targets: [WarehouseReplay.Target(layout: layout, after: through)],
          through: applied, now: clock.now, only: (condition, []))
        through = applied
      }
      try await catchUp()
      let keys = scratch.keys
      for key in keys { walk.known.append(key.hashValue) }
      for start in stride(from: 0, to: keys.count, by: Self.keysWhileWaiting) {
        let some = Array(keys[start..<min(start + Self.keysWhileWaiting, keys.count)])
        try await gate.pass {
          try await catchUp()
          let found = try await store.find(view: layout.view, keys: some)
          let replacements = walk.compare(
            some, found, with: scratch.states(of: some), at: clock.now,
            forgets: store.forgets(view: layout.view))
          if walk.verifiesOnly || replacements.isEmpty { return }
          try await store.replace(
            view: layout.view, replacements, now: clock.now, stream: source.name,
            through: max(0, through))
          walk.report.mended += replacements.count
        }
        try Task.checkCancellation()
      }
    }
  }

  /// Keys of the store that no event has.
  private func removeStrangers(
    _ walk: inout RebuildWalk, _ store: any RepairableOnlineStore
  ) async throws {
    walk.known.sort()
    let known = walk.known
    let candidates = Mutex<Set<EntityKey>>([])
    try await store.walk(view: walk.layout.view) { keys in
      candidates.withLock { candidates in
        for key in keys where !known.hasSorted(key.hashValue) { candidates.insert(key) }
      }
    }
    let all = candidates.withLock { Array($0) }
    let layout = walk.layout
    for start in stride(from: 0, to: all.count, by: Self.keysWhileWaiting) {
      let some = Array(all[start..<min(start + Self.keysWhileWaiting, all.count)])
      try await gate.pass {
        // A key may have come since.
        let stored = try await stored(some, layout)
        let strangers = some.filter { !stored.contains($0) }
        let found = try await store.find(view: layout.view, keys: strangers)
        let removed = walk.strangers(strangers, found, at: clock.now)
        if walk.verifiesOnly || removed.isEmpty { return }
        try await store.remove(view: layout.view, keys: removed)
        walk.report.mended += removed.count
      }
    }
  }

  /// Into how many parts of bounded size the keys of a view are cut.
  private func parts(of layout: ViewLayout) async throws -> Int {
    let counts = try await warehouse.query(
      "SELECT approx_count_distinct(hash(\(Self.columns(layout))))::BIGINT AS n "
        + "FROM \(EventTable.quoted(EventTable.name(for: layout.source)))",
      [], as: Int64.self)
    return max(1, (Int(counts.first ?? 0) + Self.keysAtOnce - 1) / Self.keysAtOnce)
  }

  private func stored(_ keys: [EntityKey], _ layout: ViewLayout) async throws -> Set<EntityKey> {
    let rows = layout.rows(of: keys)
    let found = Mutex<Set<EntityKey>>([])
    try await warehouse.stream(
      "SELECT DISTINCT \(Self.columns(layout)) FROM "
        + "\(EventTable.quoted(EventTable.name(for: layout.source))) WHERE \(rows.condition)",
      rows.parameters
    ) { batch in
      // Without key columns there is one key, which every event has.
      let keys =
        layout.keyColumns.isEmpty
        ? [EntityKey?](repeating: keys.first, count: batch.count)
        : EntityKey.keys(of: batch.columns, count: batch.count)
      found.withLock { $0.formUnion(keys.compactMap { $0 }) }
    }
    return found.withLock { $0 }
  }

  private static func columns(_ layout: ViewLayout) -> String {
    layout.keyColumns.isEmpty
      ? "0" : layout.keyColumns.map(EventTable.quoted).joined(separator: ", ")
  }
}

/// One view's comparison as it goes on.
struct RebuildWalk {
  let layout: ViewLayout
  let source: SourceDefinition
  let verifiesOnly: Bool
  var report: RebuildReport
  /// Digests of the keys that have events.
  var known: [Int] = []
  private let limit: Int
  private let comparison: StateComparison

  init(
    view: String, layout: ViewLayout, source: SourceDefinition, verifiesOnly: Bool, limit: Int
  ) {
    self.layout = layout
    self.source = source
    self.verifiesOnly = verifiesOnly
    self.limit = limit
    report = RebuildReport(view: view)
    comparison = StateComparison(layout)
  }

  /// Events before this may have been dropped from the warehouse.
  private func horizon(_ now: Timestamp) -> Int64 {
    source.keptSince(now)?.microseconds ?? .min
  }

  /// Notes what differs; the states that belong in the place of those that do.
  mutating func compare(
    _ keys: [EntityKey], _ found: [FoundState], with expected: [EntityState], at now: Timestamp,
    forgets: Bool
  ) -> [(key: EntityKey, state: EntityState)] {
    var replacements: [(key: EntityKey, state: EntityState)] = []
    for (index, key) in keys.enumerated() {
      report.keys += 1
      var state = expected[index]
      let differences = comparison.differences(
        found[index], &state, at: now, horizon: horizon(now), forgets: forgets)
      if differences.isEmpty { continue }
      note(key, differences)
      replacements.append((key, state))
    }
    return replacements
  }

  /// Notes keys that are to go.
  mutating func strangers(
    _ keys: [EntityKey], _ found: [FoundState], at now: Timestamp
  ) -> [EntityKey] {
    var removed: [EntityKey] = []
    for (key, found) in zip(keys, found) {
      switch found {
      case .missing: continue
      // All its events were dropped by retention, which leaves the online state as it is.
      case .state(let state) where state.newestEvent < horizon(now) && state.pending.isEmpty:
        continue
      default: break
      }
      var blank = EntityState(layout: layout)
      let differences = comparison.differences(
        found, &blank, at: now, horizon: .min, forgets: false)
      note(key, differences.isEmpty ? [("*", "a key", "no key")] : differences)
      removed.append(key)
    }
    return removed
  }

  private mutating func note(
    _ key: EntityKey, _ differences: [(feature: String, stored: String, expected: String)]
  ) {
    report.differing += 1
    for one in differences where report.differences.count < limit {
      report.differences.append(
        .init(
          key: key.description, feature: one.feature, stored: one.stored, expected: one.expected))
    }
  }
}

extension [Int] {
  /// Whether a sorted array has `value`.
  fileprivate func hasSorted(_ value: Int) -> Bool {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if self[middle] < value { low = middle + 1 } else { high = middle }
    }
    return low < count && self[low] == value
  }
}

/// States that are made to be compared, of one view and in memory.
private final class ScratchStore: OnlineStore {
  private let layout: ViewLayout
  private let blank: EntityState
  private let table = Mutex(MemoryTable())

  init(_ layout: ViewLayout) {
    self.layout = layout
    blank = EntityState(layout: layout)
  }

  var keys: [EntityKey] { table.withLock { Array($0.positions.keys) } }

  func states(of keys: [EntityKey]) -> [EntityState] {
    table.withLock { table in keys.map { table.state(of: $0) ?? blank } }
  }

  func prepare(_ layout: ViewLayout) async throws -> Bool { false }

  func apply(_ writes: [OnlineWrite], now: Timestamp) async throws {
    for write in writes {
      let shared = MemoryWrite(write, layout: layout, blank: blank, now: now)
      let rows = (0..<Int32(write.keys.count)).map { $0 }
      table.withLock { $0.apply(shared, rows: rows[...]) }
    }
  }

  func read(view: String, keys: [EntityKey]) async throws -> [EntityState?] {
    table.withLock { table in keys.map { table.state(of: $0) } }
  }

  func remove(view: String, keys: [EntityKey]) async throws {
    table.withLock { table in
      for key in keys { table.remove(key, blank: blank) }
    }
  }

  func drop(view: String) async throws { table.withLock { $0 = MemoryTable() } }

  func counts() async throws -> [String: Int] { [layout.view: table.withLock { $0.count }] }
}
