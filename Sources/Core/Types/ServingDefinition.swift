/// How calls of a model wait and how many workers answer them: `serving:` of a model.
package struct ServingDefinition: Sendable, Equatable, Codable {
  /// When calls are computed together.
  package struct Batch: Sendable, Equatable, Codable {
    /// Rows that one call of the model may hold when several requests are put together.
    package var rows = 64
    /// How long a worker that is free waits for more of the callers that were there lately; 0: not at all.
    package var wait = Span(microseconds: 0)

    package init() {}
  }

  /// Between how many workers the platform chooses, and by what.
  package struct Workers: Sendable, Equatable, Codable {
    package var minimum = 1
    /// Nil: as many as the machine has cores.
    package var maximum: Int?
    /// The 95th percentile of the time that calls wait for a worker above which there should be another worker.
    package var queueWait = Span.milliseconds(50)

    package init() {}
  }

  package var batch = Batch()
  package var workers = Workers()
  /// Calls that may wait; further ones are refused.
  package var queue = Limits.predictionQueue

  package init() {}
}
