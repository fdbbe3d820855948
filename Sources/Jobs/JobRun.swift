import Core

package enum JobState: String, Sendable, Codable, CaseIterable {
  case pending = "PENDING"
  case running = "RUNNING"
  case completed = "COMPLETED"
  case failed = "FAILED"
  case cancelled = "CANCELLED"

  package var isFinal: Bool { self == .completed || self == .failed || self == .cancelled }
}

/// What a training job is asked to do, beside which model.
package struct TrainingParameters: Sendable, Codable, Equatable {
  /// Training sees only what was known by then; nil is the time the job first runs.
  package var asOf: Timestamp?
  /// Promote the new version if it is at least as good as production on the same evaluation slice.
  package var promote: Bool

  package init(asOf: Timestamp? = nil, promote: Bool = false) {
    self.asOf = asOf
    self.promote = promote
  }
}

/// Whom a running job tells what it does.
package struct JobReport: Sendable {
  /// How far it has come.
  package var progress: @Sendable (String) async throws -> Void
  /// A line for the job's log; never waits.
  package var say: @Sendable (TaskLine) -> Void

  package init(
    progress: @escaping @Sendable (String) async throws -> Void,
    say: @escaping @Sendable (TaskLine) -> Void
  ) {
    self.progress = progress
    self.say = say
  }
}

/// What a backfill takes from other rooms; the composition root fills it in.
package struct BackfillSteps: Sendable {
  /// Runs to its end and says how far it has come.
  package var run: @Sendable (JobRun, JobReport) async throws -> Void
  /// Removes what a cancelled one has left.
  package var abandon: @Sendable (JobRun) async throws -> Void

  package init(
    run: @escaping @Sendable (JobRun, JobReport) async throws -> Void,
    abandon: @escaping @Sendable (JobRun) async throws -> Void
  ) {
    self.run = run
    self.abandon = abandon
  }
}

/// What a backfill is asked to do, beside which view or source.
package struct BackfillParameters: Sendable, Codable, Equatable {
  /// The most events read a second; nil is as fast as can be.
  package var rowsPerSecond: Int64?
  /// Events that happened in `[from, to)`; nil is no bound.
  package var from: Timestamp?
  package var to: Timestamp?
  /// The source whose transform columns are computed anew; nil is a view's state.
  package var source: String?

  package init(
    rowsPerSecond: Int64? = nil, from: Timestamp? = nil, to: Timestamp? = nil,
    source: String? = nil
  ) {
    self.rowsPerSecond = rowsPerSecond
    self.from = from
    self.to = to
    self.source = source
  }
}

/// One job and how far it has come.
package struct JobRun: Sendable, Codable, Equatable {
  package var id: String
  /// `train` or `backfill`.
  package var kind: String
  /// What it is about: a model, or of a backfill a view or `source:NAME`.
  package var model: String
  package var state: JobState
  /// How often it was begun; also the fencing token: only the newest attempt may finish the job.
  package var attempt: Int
  package var maxAttempts: Int
  package var parameters: TrainingParameters
  /// Of a backfill.
  package var backfill: BackfillParameters?
  /// Who or what filed it.
  package var reason: String
  package var notBefore: Timestamp
  package var leaseOwner: String?
  package var leaseUntil: Timestamp?
  package var progress: String
  package var error: String?
  /// The version it published.
  package var version: Int64?
  package var createdAt: Timestamp
  package var finishedAt: Timestamp?

  package init(
    id: String, kind: String, model: String, state: JobState, attempt: Int, maxAttempts: Int,
    parameters: TrainingParameters, reason: String, notBefore: Timestamp, leaseOwner: String?,
    leaseUntil: Timestamp?, progress: String, error: String?, version: Int64?,
    createdAt: Timestamp, finishedAt: Timestamp?
  ) {
    self.id = id
    self.kind = kind
    self.model = model
    self.state = state
    self.attempt = attempt
    self.maxAttempts = maxAttempts
    self.parameters = parameters
    self.reason = reason
    self.notBefore = notBefore
    self.leaseOwner = leaseOwner
    self.leaseUntil = leaseUntil
    self.progress = progress
    self.error = error
    self.version = version
    self.createdAt = createdAt
    self.finishedAt = finishedAt
  }
}

/// One more job, before it has an id.
package struct NewJob: Sendable {
  package var kind = "train"
  package var model: String
  package var reason: String
  package var parameters: TrainingParameters
  package var backfill: BackfillParameters?
  /// The same key files one job, however often it is sent.
  package var idempotencyKey: String?
  /// At most one job of the model is pending or running; filing a second one gives the first.
  package var onePerModel: Bool

  package init(
    model: String, reason: String, parameters: TrainingParameters = TrainingParameters(),
    idempotencyKey: String? = nil, onePerModel: Bool = true
  ) {
    self.model = model
    self.reason = reason
    self.parameters = parameters
    self.idempotencyKey = idempotencyKey
    self.onePerModel = onePerModel
  }

  /// At most one of a view or source is pending or running.
  package init(backfillOf view: String, reason: String, _ parameters: BackfillParameters) {
    // A view and a source may have one name.
    self.init(model: parameters.source.map { "source:\($0)" } ?? view, reason: reason)
    kind = JobRun.backfillKind
    backfill = parameters
  }
}

extension JobRun {
  package static let backfillKind = "backfill"

  package var isBackfill: Bool { kind == Self.backfillKind }
}
