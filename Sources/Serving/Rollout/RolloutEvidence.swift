import Core

/// What is known of a canary and of production since the canary began: counts only, so that it can be stored with a decision.
package struct RolloutEvidence: Sendable, Equatable, Codable {
  /// So many answers took at most so long.
  package struct LatencyCount: Sendable, Equatable, Codable {
    package var microseconds: Double
    package var count: Int

    package init(microseconds: Double, count: Int) {
      self.microseconds = microseconds
      self.count = count
    }
  }

  /// One of the two versions.
  package struct Arm: Sendable, Equatable, Codable {
    package var version: Int64
    /// Calls that the version answered or failed by its own fault.
    package var requests: Int
    package var faults: Int
    /// Of answered calls, ascending.
    package var latencies: [LatencyCount]
    /// Predictions by the bins of production's baseline.
    package var predictions: [Int]
    /// Of the realised metric: pairs or rows with labels, and the sum of what each counts, 0…1.
    package var labelled: Int
    package var metricSum: Double

    package init(
      version: Int64, requests: Int = 0, faults: Int = 0, latencies: [LatencyCount] = [],
      predictions: [Int] = [], labelled: Int = 0, metricSum: Double = 0
    ) {
      self.version = version
      self.requests = requests
      self.faults = faults
      self.latencies = latencies
      self.predictions = predictions
      self.labelled = labelled
      self.metricSum = metricSum
    }
  }

  package var canary: Arm
  package var production: Arm

  package init(canary: Arm, production: Arm) {
    self.canary = canary
    self.production = production
  }
}

extension RolloutEvidence.Arm {
  /// Where a quantile of the latencies lies, in microseconds; nil where it may lie anywhere above.
  func latency(_ quantile: Double, alpha: Double) -> (low: Double, high: Double?) {
    let count = Double(latencies.reduce(0) { $0 + $1.count })
    guard count > 0 else { return (0, nil) }
    let ranks = MeanSequence.ranks(of: quantile, count: count, alpha: alpha)
    return (value(at: ranks.low) ?? 0, value(at: ranks.high + 1))
  }

  /// The value of a rank, from 1; nil beyond the last.
  func value(at rank: Double) -> Double? {
    if rank < 1 { return 0 }
    var seen = 0
    for latency in latencies {
      seen += latency.count
      if Double(seen) >= rank { return latency.microseconds }
    }
    return nil
  }
}
