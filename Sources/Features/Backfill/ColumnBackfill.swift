import Core
import Synchronization

/// A source whose transform columns are to be computed anew.
package struct ColumnBackfillRequest: Sendable {
  package var source: String
  /// Known by which work that was begun is taken up again.
  package var job: String
  /// Events that happened in `[from, to)`; nil is no bound.
  package var from: Timestamp?
  package var to: Timestamp?
  /// The most events read a second; nil is as fast as can be.
  package var rowsPerSecond: Int64?

  package init(
    source: String, job: String, from: Timestamp? = nil, to: Timestamp? = nil,
    rowsPerSecond: Int64? = nil
  ) {
    self.source = source
    self.job = job
    self.from = from
    self.to = to
    self.rowsPerSecond = rowsPerSecond
  }
}

/// Computes the transform columns of stored events anew with the code of today, and then the views that are built on them (semantics §9).
///
/// Guarantees: reads have the old columns and the old states until both are whole, and then the new ones at once; what was there
/// is kept beside. Events for which the code raises stay as they were. Ingest goes on, and waits only at the end. Work that
/// was done is kept by parts: whoever calls again with the same job goes on after the last one, and nothing is written twice.
package struct ColumnBackfill: Sendable {
  /// The code or the definitions changed: what is staged is no longer what it should be.
  struct Outdated: Error {}

  /// Failures of one run whose reasons are told.
  private static let toldFailures = 100
  /// Sequences of one part.
  private static let partRows: Int64 = 50_000
  private static let attempts = 5

  let online: OnlineState
  let ingestor: Ingestor
  let transform: any BatchTransform
  /// Told of what a person may want to know.
  let say: @Sendable (String) -> Void

  var recomputations: Recomputations { Recomputations(warehouse: online.warehouse) }

  package init(
    online: OnlineState, ingestor: Ingestor, transform: any BatchTransform,
    say: @escaping @Sendable (String) -> Void
  ) {
    self.online = online
    self.ingestor = ingestor
    self.transform = transform
    self.say = say
  }

  /// Returns what came of it, in words.
  package func run(
    _ request: ColumnBackfillRequest, progress: @Sendable (String) async throws -> Void
  ) async throws -> String {
    for _ in 0..<Self.attempts {
      do {
        return try await attempt(request, progress)
      } catch is Outdated {
        say("the code or the definitions changed meanwhile: beginning anew")
      }
    }
    throw PlatformError(
      .conflict,
      "the transform of source '\(request.source)' was changed again and again while its columns were computed; try again when it stays as it is",
      retryable: true)
  }

  /// Removes what a job that was cancelled has left.
  package static func abandon(_ job: String, in warehouse: any Warehouse) async throws {
    let recomputations = Recomputations(warehouse: warehouse)
    for one in try await recomputations.unfinished() where one.job == job {
      try await recomputations.abandon(one)
    }
  }

  private func attempt(
    _ request: ColumnBackfillRequest, _ progress: @Sendable (String) async throws -> Void
  ) async throws -> String {
    let (source, function) = try definition(of: request.source)
    if let done = try await recomputations.inForce(of: [source.name]).last(where: {
      $0.job == request.job
    }) {
      // The process ended after it had come in force and before the job was told.
      return done.text
    }
    guard let last = online.applied(source.name), last > 0 else {
      return "source '\(source.name)' has no events"
    }
    var one = try await begin(request, source, function, last)
    let start = one.staged
    let clock = ContinuousClock()
    let began = clock.now
    while one.staged < one.through {
      try Task.checkCancellation()
      let step = min(Self.partRows, request.rowsPerSecond ?? Self.partRows)
      one = try await staged(one, through: min(one.through, max(one.staged, 0) + step), source)
      let report = BuildProgress(
        done: one.staged, total: one.through, seconds: (clock.now - began) / .seconds(1),
        start: max(start, 0))
      try await progress("columns: \(report.text)")
      if let limit = request.rowsPerSecond {
        let due = began + .seconds(Double(one.staged - max(start, 0)) / Double(limit))
        try await Task.sleep(until: due, clock: clock)
      }
    }
    guard one.version.columns != nil else {
      try await recomputations.abandon(one)
      return "no event of the range has columns that \(function) made"
        + (one.failed > 0 ? "; it raised for \(one.failed)" : "")
    }
    try await keepOthers(one, source)
    try await progress("columns: computed; building the views of '\(source.name)'")
    one = try await online.handOver(one, of: source, by: self) { report in
      try await progress("views: \(report.text)")
    }
    return one.text
  }

  private func definition(of name: String) throws -> (SourceDefinition, CodeReference) {
    let project = online.visible.current.project
    guard let source = project.source(name) else {
      throw PlatformError(
        .notFound,
        "there is no source '\(name)'\(suggestion(for: name, among: project.sources.map(\.name)))",
        retryable: false)
    }
    guard let function = source.transform else {
      throw PlatformError(
        .failedPrecondition,
        "source '\(name)' has no transform, so that nothing of its events can be computed anew; give it one in martlet.yaml and apply, or name a view",
        retryable: false)
    }
    return (source, function)
  }

  /// What this job had begun, where it is of the code of today, or a new one.
  private func begin(
    _ request: ColumnBackfillRequest, _ source: SourceDefinition, _ function: CodeReference,
    _ last: Int64
  ) async throws -> Recomputation {
    let digest = try await transform.digest(of: function) ?? ""
    var found: Recomputation?
    for one in try await recomputations.unfinished() {
      let isThis =
        one.job == request.job && one.source == source.name && one.version.digest == digest
        && one.version.transform == function.description && one.from == request.from
        && one.to == request.to
      if isThis { found = one } else { try await recomputations.abandon(one) }
    }
    if let found {
      say("going on after event \(max(found.staged, 0))")
      return found
    }
    return try await recomputations.begin(
      Recomputation(
        number: 0, source: source.name, job: request.job,
        version: TransformVersion(
          transform: function.description, digest: digest, columns: nil),
        from: request.from, to: request.to, through: last), of: source)
  }

  // MARK: Staging

  /// Brings what is staged up to a sequence; events that came since it began count only where other code made them.
  func staged(
    _ one: Recomputation, through last: Int64, _ source: SourceDefinition
  ) async throws -> Recomputation {
    var next = one
    while next.staged < last {
      next = try await part(next, through: min(last, next.staged + Self.partRows), source)
    }
    return next
  }

  private func part(
    _ one: Recomputation, through last: Int64, _ source: SourceDefinition
  ) async throws -> Recomputation {
    guard let function = source.transform else { throw Outdated() }
    let origins = try await CellOrigins(of: source.name, in: online.warehouse)
    var rows = try await read(one, through: last, source, origins)
    let stale = (0..<rows.count).filter { row in
      rows.sequences[row] <= one.through
        || origins.history.digest(of: origins.history.step(of: rows.sequences[row]))
          != one.version.digest
    }
    if stale.count < rows.count { rows = rows.keeping(stale) }
    var next = one
    next.staged = last
    guard rows.count > 0 else {
      try await recomputations.stage(ColumnBatch(columns: []), next)
      return next
    }
    let (raw, unknown) = origins.raw(rows)
    let made = try await transform.transform(
      ColumnBatch(columns: raw, count: rows.count), of: source, with: function
    ).fitted(to: source, count: rows.count, by: function)
    if let digest = made.digest, digest != one.version.digest { throw Outdated() }
    try next.note(made.columns.map(\.name), origins, source, function)
    let table = try await online.warehouse.eventTable(of: source.name)
    let recomputed = RecomputedRows(
      rows, raw: raw, unknown: unknown, made: made, columns: next.columns,
      table: table, by: function)
    tell(recomputed.failures, after: next.failed)
    next.failed += Int64(recomputed.failures.count)
    next.rows += Int64(recomputed.batch.count)
    try await recomputations.stage(recomputed.batch, next)
    return next
  }

  private func tell(
    _ failures: [(sequence: Int64, eventID: String, reason: String)], after told: Int64
  ) {
    for failure in failures.prefix(max(0, Self.toldFailures - Int(told))) {
      say("event \(failure.sequence) (\(failure.eventID)) stays as it was: \(failure.reason)")
    }
  }

  private func read(
    _ one: Recomputation, through last: Int64, _ source: SourceDefinition, _ origins: CellOrigins
  ) async throws -> StoredRows {
    var condition = "e.sequence > ? AND e.sequence <= ?"
    var parameters: [Value] = [.int64(one.staged), .int64(last)]
    if let from = one.from {
      condition += " AND e.event_timestamp >= ?"
      parameters.append(.timestamp(from))
    }
    if let to = one.to {
      condition += " AND e.event_timestamp < ?"
      parameters.append(.timestamp(to))
    }
    return try await StoredRows.read(
      source, earlier: origins.earlier, condition: condition, parameters, in: online.warehouse)
  }

  /// Stages the events that are older than a column which some now have, and that have it not: their bitmaps have to say so.
  private func keepOthers(_ one: Recomputation, _ source: SourceDefinition) async throws {
    let table = try await online.warehouse.eventTable(of: source.name)
    let names = one.version.columns ?? []
    let since = table.columns.filter { names.contains($0.name) }.map(\.since).max() ?? .min
    var after: Int64 = 0
    while after < since {
      let last = min(since, after + Self.partRows)
      let found = Mutex<(sequences: [Int64], bitmaps: [String])>(([], []))
      try await online.warehouse.stream(
        "SELECT e.sequence, e.absent FROM \(EventTable.quoted(EventTable.name(for: source.name))) AS e "
          + "LEFT JOIN (SELECT sequence FROM \(one.stagedTable) WHERE sequence > ? AND sequence <= ?) AS s "
          + "ON s.sequence = e.sequence "
          + "WHERE e.sequence > ? AND e.sequence <= ? AND s.sequence IS NULL",
        [.int64(after), .int64(last), .int64(after), .int64(last)]
      ) { batch in
        guard case .int64(let sequences) = batch.columns[0].values,
          case .string(let texts) = batch.columns[1].values
        else { return }
        let bitmaps = texts.indices.map { batch.columns[1].isPresent($0) ? texts[$0] : "" }
        found.withLock { found in
          found.sequences += sequences
          found.bitmaps += bitmaps
        }
      }
      let others = found.withLock { $0 }
      if !others.sequences.isEmpty {
        try await recomputations.stage(
          RecomputedRows(
            kept: others.sequences, bitmaps: others.bitmaps, made: names, table: table
          ).batch, one)
      }
      after = last
    }
  }
}

extension Recomputation {
  /// What came of it.
  fileprivate var text: String {
    let kept =
      failed > 0 ? "; \(failed) events stay as they were (martlet jobs logs \(job))" : ""
    return
      "\((version.columns ?? []).joined(separator: ", ")) of \(rows) events by "
      + "\(version.digest.prefix(12)) in force\(kept)"
  }

  /// Notes which columns the code makes; it has to make the same ones of every part.
  fileprivate mutating func note(
    _ names: [String], _ origins: CellOrigins, _ source: SourceDefinition,
    _ function: CodeReference
  ) throws(PlatformError) {
    // Of a part for whose every event the code raised there is nothing.
    if names.isEmpty { return }
    let names = names.sorted()
    if let known = version.columns, known != names {
      throw PlatformError(
        .userCode,
        "\(function) answers other columns for some batches (\(known.joined(separator: ", ")) and "
          + "\(names.joined(separator: ", "))); always return the same", retryable: false)
    }
    version.columns = names
    let former = origins.columns.filter { source.column($0) != nil }
    columns = Set(names).union(former).sorted()
  }
}
