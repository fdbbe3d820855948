import Core
import Foundation

/// One limit of a rollout rule, and what is known of it.
package struct RolloutFinding: Sendable, Equatable, Codable {
  package enum Judgement: String, Sendable, Codable {
    case met, violated, open
  }

  /// `error_rate`, `p95_ratio`, `drift` or `metric`.
  package var limit: String
  package var allowed: Double
  /// As it was counted; nil where nothing was.
  package var observed: Double?
  /// What the true value is at least and at most, however often one looked.
  package var low: Double?
  package var high: Double?
  package var judgement: Judgement

  init(_ limit: String, allowed: Double, observed: Double?, low: Double?, high: Double?) {
    self.limit = limit
    self.allowed = allowed
    self.observed = observed
    self.low = low
    self.high = high
    judgement = .open
  }
}

/// What follows from the evidence.
package struct RolloutVerdict: Sendable, Equatable, Codable {
  package enum Outcome: String, Sendable, Codable {
    case wait, promote
    case rollBack = "roll_back"
  }

  package var outcome: Outcome
  package var why: String
  package var findings: [RolloutFinding]
}

/// Whether a canary is promoted or rolled back: a pure rule over what was counted since it began.
///
/// Guarantees, for calls that are independent of each other, however often it is asked: a canary that keeps every limit is rolled back with a
/// probability of at most `alpha` over its whole life; one that breaks a limit is promoted with a probability of at most
/// `alpha`. It waits while neither is shown. The decision is final: what is observed after it changes nothing.
package struct RolloutStateMachine: Sendable {
  package enum State: String, Sendable, Codable {
    case watching, promoted
    case rolledBack = "rolled_back"
  }

  package static let alpha = 0.05
  /// Calls before which a canary is not rolled back: a few that fail together are no independent ones.
  package static let fewestCalls = 20
  /// A bin of predictions is never taken to be rarer, which would make its share of the distance infinite.
  static let rarestShare = 0.001
  private static let quantile = 0.95

  package let rule: RolloutRule
  package private(set) var state = State.watching

  package init(_ rule: RolloutRule) { self.rule = rule }

  package mutating func observe(_ evidence: RolloutEvidence) -> RolloutVerdict {
    let findings = findings(evidence)
    guard state == .watching else {
      return RolloutVerdict(outcome: .wait, why: "it is decided already", findings: findings)
    }
    let verdict = judge(evidence, findings)
    switch verdict.outcome {
    case .promote: state = .promoted
    case .rollBack: state = .rolledBack
    case .wait: break
    }
    return verdict
  }

  private func judge(
    _ evidence: RolloutEvidence, _ findings: [RolloutFinding]
  ) -> RolloutVerdict {
    let calls = evidence.canary.requests
    if calls >= min(Self.fewestCalls, rule.requests),
      let broken = findings.first(where: { $0.judgement == .violated })
    {
      return RolloutVerdict(
        outcome: .rollBack, why: "\(broken.text) after \(calls) requests", findings: findings)
    }
    if calls < rule.requests {
      return RolloutVerdict(
        outcome: .wait, why: "\(calls) of \(rule.requests) requests so far", findings: findings)
    }
    if let open = findings.first(where: { $0.judgement != .met }) {
      return RolloutVerdict(
        outcome: .wait, why: "not shown yet after \(calls) requests: \(open.text)",
        findings: findings)
    }
    return RolloutVerdict(
      outcome: .promote,
      why: "\(calls) requests; " + findings.map(\.text).joined(separator: "; "), findings: findings)
  }

  // MARK: Limits

  private func findings(_ evidence: RolloutEvidence) -> [RolloutFinding] {
    let limits = [rule.errorRate, rule.p95Ratio, rule.drift, rule.metricLoss].compactMap { $0 }
    // Any one of them may roll the canary back, so they share what may go wrong.
    let alpha = Self.alpha / Double(max(1, limits.count))
    var findings: [RolloutFinding] = []
    if let allowed = rule.errorRate { findings.append(errors(evidence, allowed, alpha)) }
    if let allowed = rule.p95Ratio { findings.append(slowness(evidence, allowed, alpha)) }
    if let allowed = rule.drift { findings.append(drift(evidence, allowed, alpha)) }
    if let allowed = rule.metricLoss { findings.append(metric(evidence, allowed, alpha)) }
    return findings
  }

  private func errors(
    _ evidence: RolloutEvidence, _ allowed: Double, _ alpha: Double
  ) -> RolloutFinding {
    let canary = evidence.canary
    let faults = MeanSequence(count: Double(canary.requests), sum: Double(canary.faults))
    let bounds = faults.bounds(alpha: alpha)
    return RolloutFinding(
      "error_rate", allowed: allowed, observed: faults.mean, low: bounds.lowerBound,
      high: bounds.upperBound
    ).judged()
  }

  /// Two quantiles are bounded, so each has half of what may go wrong.
  private func slowness(
    _ evidence: RolloutEvidence, _ allowed: Double, _ alpha: Double
  ) -> RolloutFinding {
    let canary = evidence.canary.latency(Self.quantile, alpha: alpha / 2)
    let production = evidence.production.latency(Self.quantile, alpha: alpha / 2)
    let observed = evidence.canary.p95.flatMap { canary in
      evidence.production.p95.map { canary / $0 }
    }
    return RolloutFinding(
      "p95_ratio", allowed: allowed, observed: observed,
      low: production.high.map { $0 > 0 ? canary.low / $0 : 0 },
      high: production.low > 0 ? canary.high.map { $0 / production.low } : nil
    ).judged()
  }

  /// The population stability index of the shares of bins, each of which is bounded on both sides.
  private func drift(
    _ evidence: RolloutEvidence, _ allowed: Double, _ alpha: Double
  ) -> RolloutFinding {
    let canary = evidence.canary.predictions
    let production = evidence.production.predictions
    let used = zip(canary, production).filter { $0 + $1 > 0 }
    let totals = used.reduce((0, 0)) { ($0.0 + $1.0, $0.1 + $1.1) }
    guard totals.0 > 0, totals.1 > 0 else {
      return RolloutFinding("drift", allowed: allowed, observed: nil, low: nil, high: nil)
    }
    let each = alpha / Double(2 * used.count)
    func bounds(_ count: Int, _ total: Int) -> ClosedRange<Double> {
      MeanSequence(count: Double(total), sum: Double(count)).bounds(alpha: each)
    }
    var observed = 0.0
    var low = 0.0
    var high = 0.0
    for (a, b) in used {
      let first = bounds(a, totals.0)
      let second = bounds(b, totals.1)
      observed += Self.distance(Double(a) / Double(totals.0), Double(b) / Double(totals.1))
      if first.lowerBound > second.upperBound {
        low += Self.distance(first.lowerBound, second.upperBound)
      } else if second.lowerBound > first.upperBound {
        low += Self.distance(second.lowerBound, first.upperBound)
      }
      high += max(
        Self.distance(first.lowerBound, second.upperBound),
        Self.distance(first.upperBound, second.lowerBound))
    }
    return RolloutFinding("drift", allowed: allowed, observed: observed, low: low, high: high)
      .judged()
  }

  private static func distance(_ a: Double, _ b: Double) -> Double {
    let a = max(a, rarestShare)
    let b = max(b, rarestShare)
    return (a - b) * log(a / b)
  }

  /// By how much the canary is worse.
  private func metric(
    _ evidence: RolloutEvidence, _ allowed: Double, _ alpha: Double
  ) -> RolloutFinding {
    let canary = MeanSequence(
      count: Double(evidence.canary.labelled), sum: evidence.canary.metricSum)
    let production = MeanSequence(
      count: Double(evidence.production.labelled), sum: evidence.production.metricSum)
    let first = canary.bounds(alpha: alpha / 2)
    let second = production.bounds(alpha: alpha / 2)
    let observed = canary.mean.flatMap { canary in production.mean.map { $0 - canary } }
    return RolloutFinding(
      "metric", allowed: allowed, observed: observed,
      low: second.lowerBound - first.upperBound, high: second.upperBound - first.lowerBound
    ).judged()
  }
}

extension RolloutFinding {
  fileprivate func judged() -> RolloutFinding {
    var found = self
    if let low, low > allowed {
      found.judgement = .violated
    } else if let high, high <= allowed {
      found.judgement = .met
    }
    return found
  }

  /// `error_rate 0.031 (0.022 to 0.044) is above 0.01`.
  package var text: String {
    func short(_ value: Double?) -> String {
      value.map { value in
        let scaled = (value * 10_000).rounded() / 10_000
        return Int64(exactly: scaled).map { String($0) } ?? "\(scaled)"
      } ?? "?"
    }
    let relation =
      switch judgement {
      case .met: "is within"
      case .violated: "is above"
      case .open: "against"
      }
    return "\(limit) \(short(observed)) (\(short(low)) to \(short(high))) \(relation) "
      + short(allowed)
  }
}

extension RolloutEvidence.Arm {
  fileprivate var p95: Double? {
    let count = latencies.reduce(0) { $0 + $1.count }
    guard count > 0 else { return nil }
    return value(at: (Double(count) * 0.95).rounded(.up)).flatMap { $0 > 0 ? $0 : nil }
  }
}
