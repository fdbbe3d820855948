/// Bounds of every queue, cache and input; nothing in the platform grows without one.
package enum Limits {
  /// Bytes of one REST body or one line of a pushed stream.
  package static let requestBytes = 64 << 20
  /// Bytes of one line of a CSV or JSONL file.
  package static let lineBytes = 2 << 20
  /// Rows that one push may carry.
  package static let pushRows = 100_000
  /// Rows that wait for the next group commit before producers are slowed.
  package static let commitQueueRows = 200_000
  /// Rows of a file that are validated in memory before the warehouse transaction begins.
  package static let fileBufferRows = 2_000_000
  /// Quarantined records of one file that are kept with their text.
  package static let quarantinePerFile = 100_000
  /// Bytes of a quarantined record's text.
  package static let quarantineTextBytes = 16 << 10
  /// Rows of `model_logs` that wait for the warehouse before the oldest are shed.
  package static let predictionLogRows = 100_000
  /// Predictions that may wait for one model's workers.
  package static let predictionQueue = 1_024
  /// Bytes of one frame between the platform and a worker.
  package static let frameBytes = 256 << 20
  /// Characters of an expression in a definition.
  package static let expressionCharacters = 4_096
  /// Levels of nesting of an expression.
  package static let expressionDepth = 64
  /// Names of entities, sources, views, features and models.
  package static let nameCharacters = 64
  /// Characters of the name that a producer gives itself; with a sequence behind it, it must fit an event id.
  package static let clientIDCharacters = 256
  /// Characters of an event id.
  package static let eventIDCharacters = 512
}
