import Core
import Foundation
import GRDB

/// What was decided about a canary, by whom, and what was known then.
package struct RolloutDecisionRecord: Sendable, Equatable {
  package enum Kind: String, Sendable, CaseIterable {
    case started, promoted
    case rolledBack = "rolled_back"
  }

  package var model: String
  package var version: Int64
  package var kind: Kind
  /// Of the keys; nil where no canary ran.
  package var share: Double?
  package var who: String
  package var why: String
  /// JSON; nil where somebody decided by hand.
  package var evidence: String?
  package var at: Timestamp
}

/// The SQL of canaries and of decisions about them; used inside the store's transactions.
enum RolloutRecord {
  static func setShare(
    _ share: Double, of version: Int64, model: String, since: Timestamp, _ db: Database
  ) throws {
    try db.execute(
      sql:
        "INSERT OR REPLACE INTO canary_shares (model, version, share, since) VALUES (?, ?, ?, ?)",
      arguments: [model, version, share, since.microseconds])
  }

  /// Every canary that runs; one that was not started with a share has that of the model's rule.
  static func canaries(
    _ db: Database, project: ProjectDefinition
  ) throws -> [String: CanaryState] {
    let rows = try Row.fetchAll(
      db,
      sql: """
        SELECT v.model, max(v.version) AS version, s.share, s.since,
          (SELECT max(t.at) FROM model_transitions t
            WHERE t.model = v.model AND t.version = v.version AND t.to_stage = 'canary'
              AND t.event = 'stage') AS moved
        FROM model_versions v
        LEFT JOIN canary_shares s ON s.model = v.model AND s.version = v.version
        WHERE v.stage = 'canary' AND v.deleted_at IS NULL GROUP BY v.model
        """)
    var canaries: [String: CanaryState] = [:]
    for row in rows {
      let model: String = row["model"]
      let share: Double? = row["share"]
      let since: Int64? = row["since"]
      let moved: Int64? = row["moved"]
      let rule = project.model(model)?.rollout?.canary ?? RolloutDefinition.defaultShare
      // A share that was set for an earlier run of the same version is that of the past.
      let isCurrent = (since ?? .min) >= (moved ?? .min)
      canaries[model] = CanaryState(
        version: row["version"], share: isCurrent ? share ?? rule : rule,
        since: Timestamp(microseconds: max(since ?? 0, moved ?? 0)))
    }
    return canaries
  }

  static func insert(_ decision: RolloutDecisionRecord, _ db: Database) throws {
    try db.execute(
      sql: """
        INSERT INTO rollout_decisions (model, version, decision, share, who, why, evidence, at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        """,
      arguments: [
        decision.model, decision.version, decision.kind.rawValue, decision.share, decision.who,
        decision.why, decision.evidence, decision.at.microseconds,
      ])
  }

  static func decisions(
    _ db: Database, of model: String, limit: Int
  ) throws -> [RolloutDecisionRecord] {
    try Row.fetchAll(
      db, sql: "SELECT * FROM rollout_decisions WHERE model = ? ORDER BY id DESC LIMIT ?",
      arguments: [model, limit]
    ).map { row in
      let kind: String = row["decision"]
      guard let kind = RolloutDecisionRecord.Kind(rawValue: kind) else {
        throw PlatformError(
          .storage, "the catalog has an unknown rollout decision '\(kind)'; use a newer Martlet")
      }
      return RolloutDecisionRecord(
        model: row["model"], version: row["version"], kind: kind, share: row["share"],
        who: row["who"], why: row["why"], evidence: row["evidence"],
        at: Timestamp(microseconds: row["at"]))
    }
  }

  /// The version that was in production before the one that is, as the audit has it.
  static func previousProduction(_ db: Database, of model: String) throws -> Int64? {
    try Int64.fetchOne(
      db,
      sql: """
        SELECT t.version FROM model_transitions t
        JOIN model_versions v ON v.model = t.model AND v.version = t.version
        WHERE t.model = ? AND t.from_stage = 'production' AND t.event = 'stage'
          AND v.stage <> 'production' AND v.deleted_at IS NULL
        ORDER BY t.id DESC LIMIT 1
        """, arguments: [model])
  }
}

// MARK: Canaries

extension CatalogStore {
  /// Gives a version a share of the keys, or changes the share that it has, which begins its evidence anew.
  ///
  /// - Parameter share: of the keys, in (0, 1]; nil takes the model's rollout rule, else a tenth.
  /// - Throws: `failed_precondition` without a version in production, or for the one that is.
  package func startCanary(
    model: String, version: Int64, share: Double? = nil, who: String, why: String
  ) async throws -> ModelVersion {
    if let share, !(share > 0 && share <= 1) {
      throw PlatformError(
        .invalidArgument, "a canary's share is above 0 and at most 1 (100 %), not \(share)")
    }
    let rule = changes.current.project.model(model)?.rollout?.canary
    let share = share ?? rule ?? RolloutDefinition.defaultShare
    let now = clock.now
    _ = try await changing("the canary cannot be started") { db in
      let running = try RolloutRecord.canaries(db, project: .init(name: ""))[model]
      if running?.version == version, running?.share == share { return false }
      _ = try ModelVersionRecord.find(db, model: model, version: version)
      _ = try Self.move(model, version, to: .canary, who: who, why: why, at: now, db)
      try RolloutRecord.setShare(share, of: version, model: model, since: now, db)
      try RolloutRecord.insert(
        RolloutDecisionRecord(
          model: model, version: version, kind: .started, share: share, who: who, why: why,
          evidence: nil, at: now), db)
      return true
    }
    return try await found(model, version)
  }

  /// Has a version see everything and answer nobody.
  package func startShadow(
    model: String, version: Int64, who: String, why: String
  ) async throws -> ModelVersion {
    let now = clock.now
    _ = try await changing("the shadow cannot be started") { db in
      _ = try ModelVersionRecord.find(db, model: model, version: version)
      return try Self.move(model, version, to: .shadow, who: who, why: why, at: now, db)
    }
    return try await found(model, version)
  }

  /// Promotes or archives a canary, with the evidence, as one transaction.
  ///
  /// - Returns: false where that version is not the canary (any more): somebody else has decided.
  package func decide(
    _ kind: RolloutDecisionRecord.Kind, model: String, version: Int64, who: String, why: String,
    evidence: String?
  ) async throws -> Bool {
    let now = clock.now
    let isDone = Published(false)
    _ = try await changing("the decision about the canary cannot be stored") { db in
      isDone.publish(
        try Self.decide(
          kind, model, version, who: who, why: why, evidence: evidence, at: now, db))
      return isDone.current
    }
    return isDone.current
  }

  private static func decide(
    _ kind: RolloutDecisionRecord.Kind, _ model: String, _ version: Int64, who: String,
    why: String, evidence: String?, at now: Timestamp, _ db: Database
  ) throws -> Bool {
    guard let canary = try RolloutRecord.canaries(db, project: .init(name: ""))[model],
      canary.version == version, kind != .started
    else { return false }
    try RolloutRecord.insert(
      RolloutDecisionRecord(
        model: model, version: version, kind: kind, share: canary.share, who: who, why: why,
        evidence: evidence, at: now), db)
    return try move(
      model, version, to: kind == .promoted ? .production : .archived, who: who, why: why,
      at: now, db)
  }

  /// Ends the canary that runs; without one, the version that was in production before is again.
  ///
  /// - Returns: the version that is in production now.
  /// - Throws: `failed_precondition` where there is nothing to go back to.
  package func rollBack(model: String, who: String, why: String) async throws -> ModelVersion {
    let now = clock.now
    let snapshot = try await changing("the model cannot be rolled back") { db in
      if let canary = try RolloutRecord.canaries(db, project: .init(name: ""))[model] {
        return try Self.decide(
          .rolledBack, model, canary.version, who: who, why: why, evidence: nil, at: now, db)
      }
      guard
        let current = try ModelVersionRecord.versions(db, of: model)
          .first(where: { $0.stage == .production }),
        let previous = try RolloutRecord.previousProduction(db, of: model)
      else {
        throw PlatformError(
          .failedPrecondition,
          "model '\(model)' has neither a canary nor an earlier version in production to go back to; "
            + "`martlet models list` shows its versions")
      }
      try RolloutRecord.insert(
        RolloutDecisionRecord(
          model: model, version: current.version, kind: .rolledBack, share: nil, who: who,
          why: why, evidence: nil, at: now), db)
      return try Self.move(
        model, previous, to: .production, who: who,
        why: "version \(current.version) was rolled back: \(why)", at: now, db)
    }
    guard let production = snapshot.production(of: model) else {
      throw PlatformError(.failedPrecondition, "model '\(model)' has no version in production")
    }
    return production
  }

  /// What was decided about canaries of a model, newest first.
  package func rolloutDecisions(
    of model: String, limit: Int = 100
  ) async throws -> [RolloutDecisionRecord] {
    try await reading("the catalog cannot be read") { db in
      try RolloutRecord.decisions(db, of: model, limit: limit)
    }
  }

  private func found(_ model: String, _ version: Int64) async throws -> ModelVersion {
    try await reading("the catalog cannot be read") { db in
      try ModelVersionRecord.find(db, model: model, version: version)
    }
  }
}
