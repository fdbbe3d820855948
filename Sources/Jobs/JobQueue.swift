import Core
import Foundation
import GRDB

/// The durable queue of jobs, in SQLite.
///
/// Guarantees: a job that was filed survives a crash; a change of state is one synced transaction, guarded by the state machine; an
/// attempt that lost its lease cannot finish the job.
package final class JobQueue: Sendable {
  private let database: DatabasePool
  private let clock: any WallClock
  private let maxAttempts: Int
  private let wake = Published<UInt64>(0)

  package init(path: String, clock: any WallClock, maxAttempts: Int = 3) throws {
    var configuration = GRDB.Configuration()
    configuration.busyMode = .timeout(5)
    configuration.prepareDatabase { try $0.execute(sql: "PRAGMA synchronous = FULL") }
    do {
      database = try DatabasePool(path: path, configuration: configuration)
      try Self.migrator.migrate(database)
    } catch {
      throw PlatformError(
        .storage, "cannot open the job queue at \(path); check that the folder is writable",
        cause: error)
    }
    self.clock = clock
    self.maxAttempts = maxAttempts
  }

  private static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("1 jobs") { db in
      try db.execute(
        sql: """
          CREATE TABLE jobs (
            id TEXT PRIMARY KEY, kind TEXT NOT NULL, model TEXT NOT NULL, state TEXT NOT NULL,
            not_before INTEGER NOT NULL, lease_until INTEGER, created_at INTEGER NOT NULL,
            idempotency_key TEXT UNIQUE, run TEXT NOT NULL);
          CREATE INDEX jobs_by_state ON jobs (state, not_before);
          CREATE INDEX jobs_by_model ON jobs (model, created_at);
          CREATE TABLE schedules (model TEXT PRIMARY KEY, last_fired INTEGER NOT NULL);
          """)
    }
    migrator.registerMigration("2 logs") { db in
      try db.execute(
        sql: """
          CREATE TABLE job_lines (
            job TEXT NOT NULL, number INTEGER NOT NULL, time INTEGER NOT NULL, attempt INTEGER NOT NULL,
            level TEXT NOT NULL, logger TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (job, number));
          """)
    }
    return migrator
  }

  /// Fires when something may have become runnable.
  package func wakeUps() -> AsyncStream<UInt64> { wake.changes() }

  private func notify() { wake.publish(wake.current &+ 1) }

  /// Files a job, or gives the one that its key or its model already has.
  package func file(_ job: NewJob) async throws -> JobRun {
    let now = clock.now
    let attempts = maxAttempts
    let run = try await database.write { db in
      if let key = job.idempotencyKey,
        let found = try Self.fetch(db, "idempotency_key = ?", [key]).first
      {
        return found
      }
      if job.onePerModel,
        let found = try Self.fetch(
          db, "model = ? AND kind = ? AND state IN ('PENDING', 'RUNNING')", [job.model, job.kind]
        ).first
      {
        return found
      }
      var run = JobRun(
        id:
          "\(job.kind)-\(job.model.replacing(":", with: "-"))-\(UUID().uuidString.prefix(8).lowercased())",
        kind: job.kind, model: job.model, state: .pending, attempt: 0, maxAttempts: attempts,
        parameters: job.parameters, reason: job.reason, notBefore: now, leaseOwner: nil,
        leaseUntil: nil, progress: "", error: nil, version: nil, createdAt: now, finishedAt: nil)
      run.backfill = job.backfill
      try Self.save(db, run, key: job.idempotencyKey)
      return run
    }
    notify()
    return run
  }

  /// Leases the runnable job that has waited longest; nil when there is none.
  package func claim(owner: String, lease: Span) async throws -> JobRun? {
    let now = clock.now
    return try await database.write { db in
      for run in try Self.fetch(
        db, "state = 'RUNNING' AND lease_until < ?", [now.microseconds])
      {
        guard let orphaned = JobRunStateMachine.apply(.orphan, to: run, now: now) else { continue }
        try Self.save(db, orphaned)
      }
      guard
        let run = try Self.fetch(
          db, "state = 'PENDING' AND not_before <= ?", [now.microseconds]
        ).first,
        let claimed = JobRunStateMachine.apply(
          .claim(owner: owner, leaseUntil: now + lease), to: run, now: now)
      else { return nil }
      try Self.save(db, claimed)
      return claimed
    }
  }

  /// Puts back every job that a former process was running; call once at start, by the process that owns the data directory.
  ///
  /// - Returns: them as they were, each in an attempt that nobody ended.
  package func recover() async throws -> [JobRun] {
    let now = clock.now
    return try await database.write { db in
      let runs = try Self.fetch(db, "state = 'RUNNING'", [])
      for run in runs {
        guard let orphaned = JobRunStateMachine.apply(.orphan, to: run, now: now) else { continue }
        try Self.save(db, orphaned)
      }
      return runs
    }
  }

  /// Applies an event to a job; nil if the state machine refuses it.
  @discardableResult
  package func apply(_ event: JobRunStateMachine.Event, to id: String) async throws -> JobRun? {
    let now = clock.now
    let next = try await database.write { db -> JobRun? in
      guard let run = try Self.fetch(db, "id = ?", [id]).first else {
        throw PlatformError(.notFound, "there is no job '\(id)'; `martlet jobs list` shows them")
      }
      guard let next = JobRunStateMachine.apply(event, to: run, now: now) else { return nil }
      try Self.save(db, next)
      return next
    }
    notify()
    return next
  }

  /// Says how far the attempt has come; ignored if it lost its lease.
  package func report(_ progress: String, of run: JobRun) async throws {
    try await database.write { db in
      guard var current = try Self.fetch(db, "id = ?", [run.id]).first,
        current.attempt == run.attempt, current.leaseOwner == run.leaseOwner
      else { return }
      current.progress = progress
      try Self.save(db, current)
    }
  }

  /// Adds lines to a job's log, of which the newest are kept; a few of a killed process may be missing.
  ///
  /// - Parameter dropped: how many came before them that are not there.
  func log(
    _ lines: [(time: Timestamp, line: TaskLine)], dropped: Int, of run: JobRun
  ) async throws {
    try await database.write { db in
      let last =
        try Int64.fetchOne(
          db, sql: "SELECT max(number) FROM job_lines WHERE job = ?", arguments: [run.id])
        ?? 0
      let first = last + Int64(dropped) + 1
      for (offset, one) in lines.enumerated() {
        try db.execute(
          sql: "INSERT INTO job_lines VALUES (?, ?, ?, ?, ?, ?, ?)",
          arguments: [
            run.id, first + Int64(offset), one.time.microseconds, run.attempt, one.line.level,
            one.line.logger, one.line.message,
          ])
      }
      try db.execute(
        sql: "DELETE FROM job_lines WHERE job = ? AND number <= ?",
        arguments: [run.id, first + Int64(lines.count - 1 - Limits.jobLogLines)])
      if last == 0 {
        try db.execute(
          sql: "DELETE FROM job_lines WHERE job NOT IN "
            + "(SELECT id FROM jobs ORDER BY created_at DESC, id LIMIT ?)",
          arguments: [Limits.loggedJobs])
      }
    }
  }

  /// The newest lines of a job's log, in their order.
  package func lines(of id: String, limit: Int) async throws -> [JobLogLine] {
    _ = try await job(id)
    return try await database.read { db in
      try Row.fetchAll(
        db,
        sql: "SELECT number, time, attempt, level, logger, message FROM job_lines WHERE job = ? "
          + "ORDER BY number DESC LIMIT ?", arguments: [id, limit]
      ).reversed().map { row in
        JobLogLine(
          number: row[0], time: Timestamp(microseconds: row[1]), attempt: row[2],
          line: TaskLine(level: row[3], logger: row[4], message: row[5]))
      }
    }
  }

  package func job(_ id: String) async throws -> JobRun {
    guard let run = try await database.read({ try Self.fetch($0, "id = ?", [id]).first }) else {
      throw PlatformError(.notFound, "there is no job '\(id)'; `martlet jobs list` shows them")
    }
    return run
  }

  /// The newest jobs first.
  package func jobs(limit: Int) async throws -> [JobRun] {
    try await database.read { db in
      try Self.decode(
        String.fetchAll(
          db, sql: "SELECT run FROM jobs ORDER BY created_at DESC, id LIMIT ?", arguments: [limit]))
    }
  }

  /// All that are waiting or running, oldest first.
  package func unfinished() async throws -> [JobRun] {
    try await database.read { db in
      try Self.fetch(db, "state IN ('PENDING', 'RUNNING')", [])
    }
  }

  package func isInFlight(model: String) async throws -> Bool {
    try await database.read { db in
      try !Self.fetch(
        db, "model = ? AND kind = 'train' AND state IN ('PENDING', 'RUNNING')", [model]
      ).isEmpty
    }
  }

  /// When the last job of the model whose reason begins with `prefix` was filed, by the clock of the data where the job says its as-of time.
  package func lastFiled(model: String, reasonPrefix prefix: String) async throws -> Timestamp? {
    try await database.read { db in
      try Self.fetch(db, "model = ? AND kind = 'train'", [model]).filter {
        $0.reason.hasPrefix(prefix)
      }
      .map { $0.parameters.asOf ?? $0.createdAt }.max()
    }
  }

  package func lastFired(schedule model: String) async throws -> Timestamp? {
    try await database.read { db in
      try Int64.fetchOne(
        db, sql: "SELECT last_fired FROM schedules WHERE model = ?", arguments: [model])
    }.map { Timestamp(microseconds: $0) }
  }

  package func markFired(schedule model: String, at time: Timestamp) async throws {
    try await database.write { db in
      try db.execute(
        sql: "INSERT OR REPLACE INTO schedules (model, last_fired) VALUES (?, ?)",
        arguments: [model, time.microseconds])
    }
  }

  package func close() throws { try database.close() }

  /// Writes a file with everything that was committed before.
  package func copy(to path: String) async throws {
    do {
      try await database.writeWithoutTransaction { db in
        try db.execute(sql: "VACUUM INTO ?", arguments: [path])
      }
    } catch {
      throw PlatformError(.storage, "the job queue could not be copied to \(path)", cause: error)
    }
  }

  private static func fetch(
    _ db: Database, _ condition: String, _ arguments: StatementArguments
  ) throws -> [JobRun] {
    try decode(
      String.fetchAll(
        db, sql: "SELECT run FROM jobs WHERE \(condition) ORDER BY created_at, id",
        arguments: arguments))
  }

  private static func decode(_ texts: [String]) throws -> [JobRun] {
    let decoder = JSONDecoder()
    return try texts.map { try decoder.decode(JobRun.self, from: Data($0.utf8)) }
  }

  private static func save(_ db: Database, _ run: JobRun, key: String? = nil) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let text = String(decoding: try encoder.encode(run), as: UTF8.self)
    try db.execute(
      sql: """
        INSERT INTO jobs (id, kind, model, state, not_before, lease_until, created_at, idempotency_key, run)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET state = excluded.state, not_before = excluded.not_before,
          lease_until = excluded.lease_until, run = excluded.run
        """,
      arguments: [
        run.id, run.kind, run.model, run.state.rawValue, run.notBefore.microseconds,
        run.leaseUntil?.microseconds, run.createdAt.microseconds, key, text,
      ])
  }
}
