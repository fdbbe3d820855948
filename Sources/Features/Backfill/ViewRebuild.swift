import Core

/// How far a view's states are built.
package struct BuildProgress: Sendable, Equatable {
  /// Sequences of the source that are in the states, and all there are.
  package var done: Int64
  package var total: Int64
  package var seconds: Double
  /// Where it began; more than 0 where it goes on with what a killed process had built.
  package var start: Int64

  package var rowsPerSecond: Double { seconds > 0 ? Double(done - start) / seconds : 0 }
  package var secondsLeft: Double? {
    rowsPerSecond > 0 ? Double(total - done) / rowsPerSecond : nil
  }

  package var text: String {
    let percent = total > 0 ? Int(100 * Double(done) / Double(total)) : 100
    let left = secondsLeft.map { ", \(Int($0.rounded(.up))) s left" } ?? ""
    return "\(percent) % of \(total) events, \(Int(rowsPerSecond)) events/s\(left)"
  }
}

/// A view whose states are to be computed anew.
package struct RebuildRequest: Sendable {
  package var view: String
  /// The most events read a second; nil is as fast as can be.
  package var rowsPerSecond: Int64?
  /// Events between two checkpoints; few, so that an end and a cancellation are soon seen.
  package var partition: Int64 = 500_000

  package init(view: String, rowsPerSecond: Int64? = nil) {
    self.view = view
    self.rowsPerSecond = rowsPerSecond
  }
}

/// Computing a view's states anew from raw events, beside the ones that are read (semantics §9).
extension OnlineState {
  /// Events that may be left to add while ingest waits.
  private static let lastMoments: Int64 = 5_000
  private static let clock = ContinuousClock()

  /// What was built is no longer what it should be: the definitions changed, or a key was erased meanwhile.
  private struct Outdated: Error {}

  private struct Build {
    var request: RebuildRequest
    var source: SourceDefinition
    /// As the snapshot has it, with the new generation.
    var layout: ViewLayout
    /// The same under the name of its states.
    var stored: ViewLayout
    /// How many erasures this process had seen when it began.
    var erasures: Int
  }

  /// Computes the states of a view anew and puts them in the place of the old ones; returns their generation.
  ///
  /// Readers have the old states until the new ones are whole, and then the new ones at once. Ingest goes on meanwhile; it waits only while the events of
  /// the last moments are added, so that every event is in the new states once. A store that outlives the process goes on at its last
  /// checkpoint when it is called again after a crash; in memory it begins anew. Where it throws, nothing has changed.
  package func rebuild(
    _ request: RebuildRequest,
    progress: @Sendable (BuildProgress) async throws -> Void
  ) async throws -> Int64 {
    try await rebuilding.pass {
      while true {
        let build = try begin(request)
        try await requireWhole([request.view], to: "compute them anew")
        do {
          try await fill(build, progress)
          return build.layout.generation
        } catch is Outdated {
          try await abandon(build)
        } catch {
          // A process that ends keeps what a store has that outlives it.
          let isKept = error is CancellationError && store is any PositionedOnlineStore
          if !isKept { try? await abandon(build) }
          throw error
        }
      }
    }
  }

  private func begin(_ request: RebuildRequest) throws -> Build {
    let snapshot = visible.current
    let views = snapshot.project.views.map(\.name)
    guard var layout = snapshot.layouts[request.view],
      let source = snapshot.project.source(layout.source)
    else {
      throw PlatformError(
        .notFound,
        "there is no view '\(request.view)'\(suggestion(for: request.view, among: views))",
        retryable: false)
    }
    layout.generation += 1
    var stored = layout
    stored.view = layout.storageName
    return Build(
      request: request, source: source, layout: layout, stored: stored, erasures: erasuresSeen)
  }

  private func fill(
    _ build: Build, _ progress: @Sendable (BuildProgress) async throws -> Void
  ) async throws {
    var after = try await checkpoint(build)
    let first = max(after, -1)
    let started = Self.clock.now
    let partition = build.request.partition
    let step = max(1, min(partition, build.request.rowsPerSecond ?? partition))
    while let last = applied(build.source.name),
      last - max(after, -1) > min(step, Self.lastMoments)
    {
      try Task.checkCancellation()
      let through = min(last, max(after, -1) + step)
      try await extend(build, after, through)
      after = through
      guard build.erasures == erasuresSeen else { throw Outdated() }
      let report = BuildProgress(
        done: after + 1, total: last + 1, seconds: (Self.clock.now - started) / .seconds(1),
        start: first + 1)
      try await progress(report)
      if let limit = build.request.rowsPerSecond {
        let due = started + .seconds(Double(after - first) / Double(limit))
        try await Task.sleep(until: due, clock: Self.clock)
      }
    }
    try await takePlace(build, after)
  }

  /// The sequence up to which an earlier attempt had come; the states are empty where there was none.
  private func checkpoint(_ build: Build) async throws -> Int64 {
    let goesOn = try await builds.begin(
      build.layout.view, build.layout.generation, storage: build.stored.view, at: clock.now)
    if goesOn, let store = store as? any PositionedOnlineStore,
      try await !store.prepare(build.stored),
      let position = try await store.positions(of: build.stored.view)[build.source.name]
    {
      return position
    }
    try await start(build.stored)
    return .min
  }

  private func extend(_ build: Build, _ after: Int64, _ through: Int64) async throws {
    try await replay.run(
      build.source, targets: [WarehouseReplay.Target(layout: build.stored, after: after)],
      through: through, now: clock.now)
  }

  /// Adds the events of the last moments while none is applied, and lets the new states be read.
  private func takePlace(_ build: Build, _ after: Int64) async throws {
    try await gate.pass {
      let before = visible.current
      guard build.erasures == erasuresSeen, let current = before.layouts[build.layout.view],
        current == build.layout, current.generation + 1 == build.layout.generation
      else { throw Outdated() }
      if let last = applied(build.source.name) { try await extend(build, after, last) }
      try await builds.finish(build.stored.view, at: clock.now)
      swap(current.storageName, for: build.stored, before.with(build.layout))
      try await store.drop(view: current.storageName)
    }
  }

  /// Removes what a rebuild that was cancelled has left.
  package func abandonRebuild(of view: String) async throws {
    try await rebuilding.pass {
      try await abandon(begin(RebuildRequest(view: view)))
    }
  }

  private func abandon(_ build: Build) async throws {
    try await store.drop(view: build.stored.view)
    try await builds.abandon(build.stored.view)
  }
}
