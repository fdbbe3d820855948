import Core
import Logging
import Synchronization

/// Keeps the online store in step with the warehouse and with the definitions.
///
/// Every view's states hold exactly the events of its source up to one sequence. Applying, rebuilding and capturing a
/// snapshot exclude each other; reads never wait.
package final class OnlineState: StoredEventApplier {
  private struct State {
    /// Under the names that their states have in the store.
    var layouts: [ViewLayout] = []
    /// By source, the last sequence that is in the states.
    var applied: [String: Int64] = [:]
    /// By source, up to where the states came from the warehouse: a commit that was waiting meanwhile brings those again.
    var replayed: [String: Int64] = [:]
    /// By source.
    var times: [String: EventTimes] = [:]
    /// The same by stored view, of the events that have a key of it.
    var timesOfView: [String: EventTimes] = [:]
    var isRestored = false
    /// The views have been read by nobody yet, though somebody may ask.
    var isHidden = false
    /// By view, the generation of its states that is read.
    var generations: [String: Int64] = [:]
    /// Erasures that this process did: what was being built meanwhile is to be built anew.
    var erasures = 0
    /// By stored view that was built while this process ran, when it could be read.
    var visibleSince: [String: Timestamp] = [:]
    /// What the last snapshot contained.
    var saved: (position: [String: Int64], views: [String])?

    mutating func note(_ times: [String: EventTimes]) {
      for (view, more) in times { timesOfView[view, default: EventTimes()].merge(more) }
    }

    /// Notes that a batch is in the states.
    mutating func note(_ batch: EventBatch, _ now: Timestamp) {
      if let last = batch.sequences.max() {
        applied[batch.source] = max(applied[batch.source] ?? last, last)
      }
      times[batch.source, default: EventTimes()].merge(
        EventTimes(batch.eventTimestamps, now: now.microseconds))
    }
  }

  /// The definitions whose views can be read: what the rooms that read features go by.
  package let visible = Published<Snapshot>(.empty)
  /// How many events were applied since a snapshot was last begun.
  package let unsavedEvents = Published(0)

  private let definitions: Published<Snapshot>
  let store: any OnlineStore
  let clock: any WallClock
  let replay: WarehouseReplay
  let warehouse: any Warehouse
  private let snapshotPath: String
  private let logger: Logger
  let gate = SerialGate()
  /// One after the other: building views for new definitions, and computing a view anew.
  let adopting = SerialGate()
  let rebuilding = SerialGate()
  let builds: ViewBuilds
  /// One snapshot is written after the other, so that an older one never takes a newer one's place.
  private let saving = SerialGate()
  private let state = Mutex(State())

  /// - Parameters:
  ///   - definitions: what the catalog publishes; `visible` follows it once the views are there.
  ///   - snapshotPath: the file that a store in memory is saved to.
  package init(
    definitions: Published<Snapshot>, store: any OnlineStore, warehouse: any Warehouse,
    clock: any WallClock, snapshotPath: String, logger: Logger
  ) {
    self.definitions = definitions
    self.store = store
    self.warehouse = warehouse
    self.clock = clock
    self.snapshotPath = snapshotPath
    self.logger = logger
    replay = WarehouseReplay(warehouse: warehouse, store: store)
    builds = ViewBuilds(warehouse: warehouse)
  }

  /// The last sequence of a source that is in the states; exact inside `gate`.
  func applied(_ source: String) -> Int64? { state.withLock { $0.applied[source] } }

  /// By source, how new the events are that are in the online state.
  package func freshness(at now: Timestamp) -> [String: Freshness] {
    state.withLock { $0.times }.mapValues { Freshness($0, at: now) }
  }

  /// By view that was built while this process ran, since when its definition has been read.
  package var visibleSince: [String: Timestamp] {
    let times = state.withLock { $0.visibleSince }
    return visible.current.layouts.compactMapValues { times[$0.storageName] }
  }

  /// By view, how new the events are that are in its states.
  package func freshnessOfViews(at now: Timestamp) -> [String: Freshness] {
    let (layouts, times) = (visible.current.layouts, state.withLock { $0.timesOfView })
    return layouts.compactMapValues { layout in
      times[layout.storageName].map { Freshness($0, at: now) }
    }
  }

  /// The number of entity keys of each view.
  package func counts() async throws -> [String: Int] {
    let stored = try await store.counts()
    return visible.current.layouts.mapValues { stored[$0.storageName] ?? 0 }
  }

  // MARK: Applying

  package func apply(_ batches: [EventBatch]) async throws {
    try await gate.pass { try await whole { try await merge(batches) } }
  }

  private func merge(_ batches: [EventBatch]) async throws {
    let (layouts, replayed) = try current()
    let fresh = batches.compactMap { $0.rows(after: replayed[$0.source] ?? .min) }
    var times: [String: EventTimes] = [:]
    let now = clock.now
    if let store = store as? any PositionedOnlineStore {
      for batch in fresh {
        let writes = OnlinePipeline.writes(for: batch, layouts: layouts)
        try await store.apply(writes, now: clock.now, stream: batch.source)
        writes.note(in: &times, now: now)
      }
    } else {
      let writes = fresh.flatMap { OnlinePipeline.writes(for: $0, layouts: layouts) }
      try await store.apply(writes, now: clock.now)
      writes.note(in: &times, now: now)
    }
    let noted = times
    state.withLock { state in
      for batch in batches { state.note(batch, now) }
      state.note(noted)
    }
    unsavedEvents.publish(unsavedEvents.current + batches.reduce(0) { $0 + $1.count })
  }

  package func applyStored(source: String, sequences: ClosedRange<Int64>) async throws {
    try await gate.pass {
      let (layouts, replayed) = try current()
      guard let definition = visible.current.project.source(source) else { return }
      let after = max(sequences.lowerBound - 1, replayed[source] ?? .min)
      try await whole {
        try await replay.run(
          definition,
          targets: layouts.filter { $0.source == source }
            .map { WarehouseReplay.Target(layout: $0, after: after) },
          through: sequences.upperBound, now: clock.now)
      }
      let now = clock.now
      let times = try await replay.end(of: source, now: now)?.times
      let ofViews = try await replay.times(
        in: source, of: layouts, from: sequences.lowerBound, through: sequences.upperBound, now: now
      )
      state.withLock { state in
        state.applied[source] = max(state.applied[source] ?? .min, sequences.upperBound)
        if let times { state.times[source] = times }
        state.note(ofViews)
      }
      unsavedEvents.publish(unsavedEvents.current + sequences.count)
    }
  }

  private func current() throws -> (layouts: [ViewLayout], replayed: [String: Int64]) {
    try state.withLock { state in
      guard state.isRestored else {
        throw PlatformError(
          .unavailable,
          "the online state is still being restored; send the events again when it is ready")
      }
      return (state.layouts, state.replayed)
    }
  }

  // MARK: Building views anew

  var erasuresSeen: Int { state.withLock { $0.erasures } }

  /// Puts a view's new states in the place of the old ones; to be called while nothing is applied.
  func swap(_ former: String, for layout: ViewLayout, _ snapshot: Snapshot) {
    state.withLock { state in
      state.layouts = state.layouts.filter { $0.view != former } + [layout]
      for (view, layout) in snapshot.layouts where layout.generation > 0 {
        state.generations[view] = layout.generation
      }
      // They are of the same events.
      if let times = state.timesOfView[former] {
        state.timesOfView[layout.view, default: EventTimes()].merge(times)
        state.timesOfView[former] = nil
      }
      // The views of the file are others now.
      state.saved = nil
    }
    visible.publish(snapshot)
  }

  // MARK: Restoring

  /// Brings the state to what the warehouse holds: the snapshot file, then the events since; then makes it visible.
  ///
  /// To be called once, before events are taken in.
  package func restore() async throws {
    let generations = try await builds.current()
    let snapshot = definitions.current.with(generations: generations, build: 0)
    try await gate.pass {
      try await warehouse.prepare(snapshot.project.sources)
      let layouts = snapshot.storedLayouts
      if isHidden { hide(layouts) }
      var positions: [String: Int64] = [:]
      for layout in layouts where try await !store.prepare(layout) {
        if let store = store as? any PositionedOnlineStore {
          positions[layout.view] = try await store.positions(of: layout.view)[layout.source]
        }
        // States of unknown age, which a store that outlives the process may have kept.
        if positions[layout.view] == nil { try await start(layout) }
      }
      if let store = store as? any SnapshottingOnlineStore {
        positions = try await store.restoreSnapshot(from: snapshotPath)
      }
      for source in snapshot.project.sources {
        let views = layouts.filter { $0.source == source.name }
        try await restore(source, views: views, positions: positions)
      }
      state.withLock { state in
        state.layouts = layouts
        state.generations = generations
        state.isRestored = true
      }
      visible.publish(snapshot)
    }
  }

  /// As `restore`; where a store of its own process is away, its reads fail and stored events wait until `mend` finds it.
  package func begin() async throws {
    do {
      try await restore()
    } catch let error as PlatformError
      where error.code == .unavailable && store is any PositionedOnlineStore
    {
      let snapshot = definitions.current.with(generations: try await builds.current(), build: 0)
      hide(snapshot.storedLayouts)
      visible.publish(snapshot)
      logger.error(
        "the online store is away: online reads fail and events wait until it is back",
        metadata: ["error": "\(error)"])
    }
  }

  private func hide(_ layouts: [ViewLayout]) {
    guard let store = store as? any PositionedOnlineStore else { return }
    for layout in layouts { store.hide(view: layout.view) }
    state.withLock { $0.isHidden = true }
  }

  private func restore(
    _ source: SourceDefinition, views: [ViewLayout], positions: [String: Int64]
  ) async throws {
    let end = try await replay.end(of: source.name, now: clock.now)
    var targets: [WarehouseReplay.Target] = []
    for view in views {
      var after = positions[view.view] ?? .min
      if after > end?.sequence ?? .min {
        logger.warning(
          "the online snapshot knows events that the warehouse does not have: rebuilding the view",
          metadata: ["view": "\(view.view)", "source": "\(source.name)"])
        try await start(view)
        after = .min
      }
      targets.append(WarehouseReplay.Target(layout: view, after: after))
    }
    try await fill(source, targets, through: end)
  }

  /// Makes an empty view, or joins one that has events of other warehouses only.
  private func join(_ layout: ViewLayout) async throws {
    if try await store.prepare(layout) { return }
    if let store = store as? any PositionedOnlineStore,
      try await store.positions(of: layout.view)[layout.source] == .min
    {
      return
    }
    try await start(layout)
  }

  /// Empties a view.
  func start(_ layout: ViewLayout) async throws {
    if let store = store as? any PositionedOnlineStore { return try await store.empty(layout) }
    try await store.drop(view: layout.view)
    _ = try await store.prepare(layout)
  }

  private func fill(
    _ source: SourceDefinition, _ targets: [WarehouseReplay.Target],
    through end: (sequence: Int64, times: EventTimes)?
  ) async throws {
    let (last, now) = (end?.sequence ?? .min, clock.now)
    try await replay.run(source, targets: targets, through: last, now: now)
    let times = try await replay.times(
      in: source.name, of: targets.map(\.layout), from: .min, through: last, now: now)
    state.withLock { state in
      state.note(times)
      state.applied[source.name] = last
      state.replayed[source.name] = last
      if let end { state.times[source.name] = end.times }
    }
  }

  // MARK: A store that lost something

  /// Looks whether the store still has what it had acknowledged, and fills what it has not; begins with a store that was away.
  ///
  /// To be called from time to time; a store that is away has lost nothing.
  package func mend() async throws {
    guard let store = store as? any PositionedOnlineStore else { return }
    guard isRestored else {
      try await restore()
      for layout in visible.current.storedLayouts { store.restored(view: layout.view) }
      logger.notice("the online store is there, and has its events")
      return try await adopt(definitions.current)
    }
    if try await store.lostViews().isEmpty { return }
    try await gate.pass { try await recover(store, because: nil) }
  }

  /// Does work on the store, once more after the store was given back what it had lost.
  private func whole(_ work: () async throws -> Void) async throws {
    do {
      try await work()
    } catch let error as PlatformError where error.code == .failedPrecondition {
      guard let store = store as? any PositionedOnlineStore else { throw error }
      try await recover(store, because: error)
      try await work()
    }
  }

  /// Fills the views that lack events from the warehouse; their readers are refused meanwhile.
  private func recover(
    _ store: any PositionedOnlineStore, because error: PlatformError?
  ) async throws {
    let lost = try await store.lostViews().sorted()
    if lost.isEmpty {
      if let error { throw error }
      return
    }
    logger.warning(
      "the online store has lost events: filling views from the warehouse",
      metadata: ["views": "\(lost)"])
    let layouts = state.withLock { $0.layouts }.filter { lost.contains($0.view) }
    for source in visible.current.project.sources {
      var targets: [WarehouseReplay.Target] = []
      for layout in layouts where layout.source == source.name {
        _ = try await store.prepare(layout)
        let after = try await store.positions(of: layout.view)[source.name]
        if after == nil { try await start(layout) }
        targets.append(WarehouseReplay.Target(layout: layout, after: after ?? .min))
      }
      // Up to where the other views are: what comes next goes to all of them.
      let last = applied(source.name) ?? .min
      try await replay.run(source, targets: targets, through: last, now: clock.now)
    }
    for layout in layouts { store.restored(view: layout.view) }
    logger.notice("the online store has its events again", metadata: ["views": "\(lost)"])
  }

  // MARK: Following the definitions

  /// Makes newer definitions visible, once the views that they add or change are built from the warehouse.
  ///
  /// Readers have the old definitions and the old views until then. Ingest goes on meanwhile and waits only while the events of the last
  /// moments are added. Definitions that are not newer than the visible ones are passed over; where it throws nothing has changed.
  package func adopt(_ snapshot: Snapshot) async throws {
    try await adopting.pass {
      guard isRestored, snapshot.version > visible.current.version else { return }
      if snapshot.definitionsVersion != visible.current.definitionsVersion {
        try await warehouse.prepare(snapshot.project.sources)
      }
      let erasures = erasuresSeen
      var ahead: [String: Int64] = [:]
      do {
        try await buildAhead(snapshot, &ahead)
        try await gate.pass {
          try await takePlace(snapshot, erasures == erasuresSeen ? ahead : [:])
        }
      } catch {
        let kept = Set(state.withLock { $0.layouts.map(\.view) })
        for view in added(by: snapshot).map(\.view) + ahead.keys where !kept.contains(view) {
          try? await store.drop(view: view)
        }
        throw error
      }
    }
  }

  private var isRestored: Bool { state.withLock { $0.isRestored } }
  private var isHidden: Bool { state.withLock { $0.isHidden } }

  /// The views of a snapshot that the store does not have yet.
  private func added(by snapshot: Snapshot) -> [ViewLayout] {
    let (layouts, generations) = state.withLock { ($0.layouts, $0.generations) }
    let kept = Set(layouts.map(\.view))
    return snapshot.with(generations: generations, build: 0).storedLayouts
      .filter { !kept.contains($0.view) }
  }

  /// Builds added views while ingest goes on; `ahead` has, by view, the sequence up to which that was done.
  private func buildAhead(_ snapshot: Snapshot, _ ahead: inout [String: Int64]) async throws {
    let added = added(by: snapshot)
    for source in snapshot.project.sources {
      let views = added.filter { $0.source == source.name }
      guard !views.isEmpty, let known = applied(source.name) else { continue }
      for view in views {
        try await join(view)
        ahead[view.view] = .min
      }
      try await replay.run(
        source, targets: views.map { WarehouseReplay.Target(layout: $0, after: .min) },
        through: known, now: clock.now)
      for view in views { ahead[view.view] = known }
    }
  }

  /// To be called while nothing is applied.
  private func takePlace(_ definitions: Snapshot, _ ahead: [String: Int64]) async throws {
    let added = added(by: definitions)
    for source in definitions.project.sources {
      try await build(added.filter { $0.source == source.name }, of: source, ahead)
    }
    let snapshot = definitions.with(
      generations: state.withLock { $0.generations }, build: visible.current.build)
    let (wanted, now) = (snapshot.storedLayouts, clock.now)
    let kept = state.withLock { state in
      let kept = state.layouts.map(\.view)
      state.layouts = wanted
      for layout in added { state.visibleSince[layout.view] = now }
      return kept
    }
    visible.publish(snapshot)
    let names = Set(wanted.map(\.view))
    for name in kept + ahead.keys where !names.contains(name) { try await store.drop(view: name) }
  }

  private func build(
    _ added: [ViewLayout], of source: SourceDefinition, _ ahead: [String: Int64]
  ) async throws {
    let known = applied(source.name)
    if known != nil, added.isEmpty { return }
    for layout in added where ahead[layout.view] == nil { try await join(layout) }
    let targets = added.map {
      WarehouseReplay.Target(layout: $0, after: ahead[$0.view] ?? .min)
    }
    if let known {
      // Events that are committed and wait to be applied go to every view when their turn comes.
      let now = clock.now
      try await replay.run(source, targets: targets, through: known, now: now)
      let times = try await replay.times(
        in: source.name, of: added, from: .min, through: known, now: now)
      state.withLock { $0.note(times) }
    } else {
      try await fill(source, targets, through: replay.end(of: source.name, now: clock.now))
    }
  }

  /// Follows the catalog until it is cancelled; a failure is logged and tried again after `retryAfter`.
  package func run(retryAfter: Span = .seconds(5)) async {
    for await snapshot in definitions.changes() {
      var wanted = snapshot
      while !Task.isCancelled {
        do {
          try await adopt(wanted)
          break
        } catch {
          logger.error(
            "new definitions cannot be put in force; the old ones stay, trying again",
            metadata: ["version": "\(wanted.definitionsVersion)", "error": "\(error)"])
          try? await Task.sleep(for: retryAfter.duration)
          wanted = definitions.current
        }
      }
    }
  }

  // MARK: Erasing

  /// Rows of a condition on keys; few enough for one statement.
  private static let keysAtOnce = 500

  /// Removes the states of keys that lost events, by stored view, and makes those anew that have events left.
  ///
  /// To be called while no commit is in flight. While it runs, a key that is made anew may read as if it were new.
  func forget(
    _ keys: [String: [EntityKey]], of subject: ErasureSubject
  ) async throws -> (removed: [String: Int], rebuilt: Int) {
    try await gate.pass {
      let (layouts, _) = try current()
      state.withLock { $0.erasures += 1 }
      var removed: [String: Int] = [:]
      var rebuilt = 0
      for layout in layouts {
        guard let lost = keys[layout.view] else { continue }
        if layout.keyColumns == subject.columns {
          let had = try await store.read(view: layout.view, keys: lost)
          removed[String(layout.view.prefix { $0 != "@" })] = had.count { $0 != nil }
        } else {
          rebuilt += lost.count
        }
        if try await fillAgain(shared: layout) { continue }
        for start in stride(from: 0, to: lost.count, by: Self.keysAtOnce) {
          let some = Array(lost[start..<min(start + Self.keysAtOnce, lost.count)])
          try await store.remove(view: layout.view, keys: some)
          try await refill(layout, some)
        }
      }
      return (removed, rebuilt)
    }
  }

  private func refill(_ layout: ViewLayout, _ keys: [EntityKey]) async throws {
    guard let source = visible.current.project.source(layout.source),
      let last = applied(layout.source)
    else { return }
    try await replay.run(
      source, targets: [WarehouseReplay.Target(layout: layout, after: .min)], through: last,
      now: clock.now, only: layout.rows(of: keys))
  }

  // MARK: Saving

  /// Writes a snapshot file, where the store has that ability and something changed since the last; false where not.
  ///
  /// Ingest waits only while the states are captured, not while they are written.
  package func save() async throws -> Bool {
    try await saving.pass { try await write() }
  }

  /// Writes a snapshot file even where no event has come since the last: the states have changed otherwise.
  func saveAnew() async throws {
    try await saving.pass {
      state.withLock { $0.saved = nil }
      _ = try await write()
    }
  }

  private func write() async throws -> Bool {
    guard let store = store as? any SnapshottingOnlineStore else { return false }
    let (captured, position, views) = try await gate.pass {
      // Also where the save then fails: what fails is tried again in its turn, not at once.
      unsavedEvents.publish(0)
      let (position, views, saved) = state.withLock {
        ($0.applied, $0.layouts.map(\.view).sorted(), $0.saved)
      }
      if let saved, saved.position == position, saved.views == views {
        return (nil as (any CapturedOnlineState)?, position, views)
      }
      return (
        try await store.capture(position: position, views: Set(views)), position, views
      )
    }
    guard let captured else { return false }
    try await captured.write(to: snapshotPath)
    state.withLock { $0.saved = (position, views) }
    return true
  }
}

extension Snapshot {
  /// The layouts of all views, each under the name of its states in the store.
  fileprivate var storedLayouts: [ViewLayout] {
    project.views.compactMap { view in
      guard var layout = layouts[view.name] else { return nil }
      layout.view = layout.storageName
      return layout
    }
  }
}
