import Core

/// Applies the jobs of other processes and notes each in the transaction that applies it; used on the writer's thread only.
struct AppliedJobs {
  private struct Note: Decodable {
    var id: String
    var digest: String
    var rowsChanged: Int?
    var errorCode: String?
    var errorMessage: String?

    enum CodingKeys: String, CodingKey {
      case id, digest
      case rowsChanged = "rows_changed"
      case errorCode = "error_code"
      case errorMessage = "error_message"
    }
  }

  let writer: WarehouseWriter
  let statements: StatementGuard

  func apply(_ jobs: [WriteJob]) throws -> [WriteOutcome] {
    var outcomes = try known(jobs)
    for index in jobs.indices where jobs[index].onlyIfNoted && outcomes[index] == nil {
      outcomes[index] = .notBegun
    }
    let new = distinct(jobs, outcomes)
    do {
      let changed = try together(new.map { jobs[$0] })
      for (index, rows) in zip(new, changed) { outcomes[index] = .applied(rowsChanged: rows) }
    } catch let error as PlatformError where !error.meansReopening {
      // Nothing of them is stored. One of them is at fault, or all of them meet the same trouble one after the other.
      for index in new {
        outcomes[index] = try new.count == 1 ? refused(jobs[index], error) : alone(jobs[index])
      }
    }
    guard outcomes.contains(where: { $0 == nil }) else { return outcomes.compactMap { $0 } }
    // An id that came twice at once is answered the second time as it would be later.
    let again = try known(jobs)
    return zip(outcomes, again).map { outcome, note in
      outcome ?? note
        ?? .refused(PlatformError(.conflict, "the job with the same id failed; send it again"))
    }
  }

  /// The first of each id that has no outcome yet.
  private func distinct(_ jobs: [WriteJob], _ outcomes: [WriteOutcome?]) -> [Int] {
    var seen: Set<String> = []
    return jobs.indices.filter { outcomes[$0] == nil && seen.insert(jobs[$0].id).inserted }
  }

  /// What the notes say of each job.
  private func known(_ jobs: [WriteJob]) throws -> [WriteOutcome?] {
    let ids = Value.list(.string(jobs.map(\.id)))
    let notes = try writer.connection.query(
      "SELECT id, digest, rows_changed, error_code, error_message FROM applied_jobs "
        + "WHERE id IN (SELECT unnest(?::VARCHAR[]))", [ids], as: Note.self)
    let byID = Dictionary(notes.map { ($0.id, $0) }) { first, _ in first }
    return jobs.map { job in
      guard let note = byID[job.id] else { return nil }
      guard note.digest == job.digest else {
        return .refused(
          PlatformError(
            .conflict, "the id '\(job.id)' belongs to another job; give every job an id of its own")
        )
      }
      if let rows = note.rowsChanged { return .appliedBefore(rowsChanged: rows) }
      return .refused(
        PlatformError(
          note.errorCode.flatMap { ErrorCode(rawValue: $0) } ?? .internalError,
          note.errorMessage ?? "the job failed", retryable: false))
    }
  }

  /// All in one transaction; returns how many rows each changed.
  private func together(_ jobs: [WriteJob]) throws -> [Int] {
    guard !jobs.isEmpty else { return [] }
    return try writer.transaction { (appender) -> [Int] in
      var changed: [Int] = []
      var start = 0
      while start < jobs.count {
        // Jobs of the same statement share its preparation.
        var end = start + 1
        while end < jobs.count, jobs[end].sql == jobs[start].sql { end += 1 }
        changed += try run(jobs[start..<end])
        start = end
      }
      try appender.append(notes(of: jobs, changed: changed), to: "applied_jobs")
      return changed
    }
  }

  private func run(_ jobs: ArraySlice<WriteJob>) throws -> [Int] {
    guard let sql = jobs.first?.sql else { return [] }
    try statements.check(sql, for: .writing)
    let eventTables = Set(
      writer.tables.tables.keys.map { EventTable.name(for: $0).lowercased() })
    return try writer.connection.execute(sql, groups: jobs.map(\.runs)) { kind in
      try StatementGuard.check(kind, for: .writing)
      try statements.checkTargets(sql, kind, eventTables: eventTables)
    }
  }

  private func alone(_ job: WriteJob) throws -> WriteOutcome {
    do {
      return .applied(rowsChanged: try together([job])[0])
    } catch let error as PlatformError where !error.meansReopening {
      return try refused(job, error)
    }
  }

  /// Notes a failure that will not pass, so that a job which comes again is not applied after its sender was told that it failed.
  private func refused(_ job: WriteJob, _ error: PlatformError) throws -> WriteOutcome {
    let mayPass = error.retryable || error.code == .storage
    if !mayPass {
      try writer.transaction { appender in
        try appender.append(notes(of: [job], error: error), to: "applied_jobs")
      }
    }
    return .refused(error)
  }

  private func notes(
    of jobs: [WriteJob], changed: [Int]? = nil, error: PlatformError? = nil
  ) -> ColumnBatch {
    let now = writer.clock.now.microseconds
    let rows = changed.map { $0.map { Value.int64(Int64($0)) } } ?? jobs.map { _ in .null }
    return ColumnBatch(columns: [
      Column(name: "id", values: .string(jobs.map(\.id))),
      Column(name: "digest", values: .string(jobs.map(\.digest))),
      Column(name: "rows_changed", type: .int64, rows),
      Column(
        name: "error_code", type: .string,
        jobs.map { _ in error.map { .string($0.code.rawValue) } ?? .null }),
      Column(
        name: "error_message", type: .string,
        jobs.map { _ in error.map { .string($0.description) } ?? .null }),
      Column(name: "applied_at", values: .timestamp(jobs.map { _ in now })),
    ])
  }

  func forget(keeping count: Int) throws {
    _ = try writer.connection.transaction {
      try writer.connection.execute(
        "DELETE FROM applied_jobs WHERE number <= (SELECT max(number) FROM applied_jobs) - ?",
        [.int64(Int64(count))])
    }
  }
}
