/// How a new version of a model comes into production: a share of the keys first, and what it must show.
package struct RolloutDefinition: Sendable, Equatable, Codable {
  /// The share of keys in (0, 1) that the canary answers.
  package var canary: Double
  package var after: RolloutRule

  package init(canary: Double, after: RolloutRule) {
    self.canary = canary
    self.after = after
  }

  /// The share of a canary of a model without a rollout rule, where whoever starts it names none.
  package static let defaultShare = 0.1
}

/// What a canary must show before it is promoted; one that shows the contrary is rolled back.
package struct RolloutRule: Sendable, Equatable, Codable {
  /// Answers of the canary before which it is not promoted.
  package var requests: Int
  /// The greatest share of its requests that may fail.
  package var errorRate: Double?
  /// Its p95 latency over that of production, at most.
  package var p95Ratio: Double?
  /// The distance of its predictions from those of production (PSI), at most.
  package var drift: Double?
  /// By how much its realised metric may be below that of production.
  package var metricLoss: Double?

  package init(
    requests: Int, errorRate: Double? = nil, p95Ratio: Double? = nil, drift: Double? = nil,
    metricLoss: Double? = nil
  ) {
    self.requests = requests
    self.errorRate = errorRate
    self.p95Ratio = p95Ratio
    self.drift = drift
    self.metricLoss = metricLoss
  }
}

/// A canary that runs: which version, how many keys it answers, since when.
package struct CanaryState: Sendable, Equatable, Codable {
  package var version: Int64
  /// Of the keys, in (0, 1].
  package var share: Double
  /// When it became the canary, or its share was last changed: evidence is counted from then on.
  package var since: Timestamp

  package init(version: Int64, share: Double, since: Timestamp) {
    self.version = version
    self.share = share
    self.since = since
  }
}
