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

/// One job and how far it has come.
package struct JobRun: Sendable, Codable, Equatable {
  package var id: String
  /// `train`.
  package var kind: String
  package var model: String
  package var state: JobState
  /// How often it was begun; also the fencing token: only the newest attempt may finish the job.
  package var attempt: Int
  package var maxAttempts: Int
  package var parameters: TrainingParameters
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
}
