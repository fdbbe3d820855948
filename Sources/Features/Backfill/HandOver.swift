import Core

/// Putting columns that were computed anew in force, together with the states of all views that are made of them.
extension OnlineState {
  /// Events that may be left to add while ingest waits.
  private static let lastMoments: Int64 = 5_000
  /// Events added to the new states at once.
  private static let partition: Int64 = 500_000

  /// A key was erased while the states were built, which may have it, or the views changed.
  private struct Stale: Error {}

  private struct Build {
    var source: SourceDefinition
    /// Of each view with its new generation.
    var layouts: [ViewLayout]
    var former: [String]
    var erasures: Int

    /// Under the names of their states.
    var stored: [ViewLayout] {
      layouts.map { layout in
        var stored = layout
        stored.view = layout.storageName
        return stored
      }
    }
  }

  /// Builds the states of the source's views from staged cells, and lets cells and states be read at once.
  ///
  /// New definitions wait until it is done. Where it throws, nothing has changed.
  func handOver(
    _ staged: Recomputation, of source: SourceDefinition, by backfill: ColumnBackfill,
    _ progress: @Sendable (BuildProgress) async throws -> Void
  ) async throws -> Recomputation {
    var staged = staged
    return try await rebuilding.pass {
      while true {
        let build = try await begin(source)
        do {
          return try await fill(build, staged, backfill, progress)
        } catch is Stale {
          try await abandon(build)
          // More may have been staged meanwhile.
          let kept = try await backfill.recomputations.unfinished()
          staged = kept.first { $0.number == staged.number } ?? staged
        } catch {
          try? await abandon(build)
          throw error
        }
      }
    }
  }

  private func begin(_ source: SourceDefinition) async throws -> Build {
    let snapshot = visible.current
    guard snapshot.project.source(source.name) == source else { throw ColumnBackfill.Outdated() }
    var build = Build(source: source, layouts: [], former: [], erasures: erasuresSeen)
    for view in snapshot.project.views {
      guard var layout = snapshot.layouts[view.name], layout.source == source.name else { continue }
      build.former.append(layout.storageName)
      layout.generation += 1
      build.layouts.append(layout)
    }
    for (layout, stored) in zip(build.layouts, build.stored) {
      // Never to be gone on with by another job: its events have other cells.
      _ = try await builds.begin(
        layout.view, layout.generation, storage: stored.view, at: clock.now, isResumable: false)
      try await start(stored)
    }
    return build
  }

  private func fill(
    _ build: Build, _ staged: Recomputation, _ backfill: ColumnBackfill,
    _ progress: @Sendable (BuildProgress) async throws -> Void
  ) async throws -> Recomputation {
    var one = staged
    var after = Int64.min
    let clock = ContinuousClock()
    let began = clock.now
    while let last = applied(build.source.name),
      last - max(after, 0) > min(Self.partition, Self.lastMoments)
    {
      try Task.checkCancellation()
      let through = min(last, max(after, 0) + Self.partition)
      one = try await backfill.staged(one, through: through, build.source)
      try await extend(build, one, after, through)
      after = through
      guard build.erasures == erasuresSeen else { throw Stale() }
      try await progress(
        BuildProgress(
          done: after, total: last, seconds: (clock.now - began) / .seconds(1), start: 0))
    }
    let (rest, done) = (one, after)
    // While no commit is in flight, what is applied is all that is stored.
    return try await adopting.pass {
      try await backfill.ingestor.pause { [self] in
        let last = max(applied(build.source.name) ?? rest.staged, rest.staged)
        let whole = try await backfill.staged(rest, through: last, build.source)
        return try await takePlace(build, whole, done, last, backfill.recomputations)
      }
    }
  }

  private func extend(
    _ build: Build, _ one: Recomputation, _ after: Int64, _ through: Int64
  ) async throws {
    if build.stored.isEmpty { return }
    try await replay.run(
      build.source,
      targets: build.stored.map { WarehouseReplay.Target(layout: $0, after: after) },
      through: through, now: clock.now, cells: StoredCells(staged: one))
  }

  private func takePlace(
    _ build: Build, _ one: Recomputation, _ after: Int64, _ last: Int64,
    _ recomputations: Recomputations
  ) async throws -> Recomputation {
    try await gate.pass {
      var next = visible.current
      guard build.erasures == erasuresSeen, next.project.source(build.source.name) == build.source,
        next.layouts.values.count(where: { $0.source == build.source.name }) == build.layouts.count
      else { throw Stale() }
      for layout in build.layouts {
        guard let current = next.layouts[layout.view], current == layout,
          current.generation + 1 == layout.generation
        else { throw Stale() }
        next = next.with(layout)
      }
      try await extend(build, one, after, last)
      var done = one
      let now = clock.now
      done.inForceSince = now
      try await recomputations.finish(done, storages: build.stored.map(\.view), at: now)
      for (former, layout) in zip(build.former, build.stored) {
        swap(former, for: layout, next)
      }
      // Done whatever becomes of the old states; a store that is away forgets them when it is started next.
      for former in build.former { try? await store.drop(view: former) }
      return done
    }
  }

  private func abandon(_ build: Build) async throws {
    for layout in build.stored {
      try await store.drop(view: layout.view)
      try await builds.abandon(layout.view)
    }
  }
}
