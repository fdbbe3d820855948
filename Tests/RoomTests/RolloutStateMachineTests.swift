import Core
import Serving
import TestKit
import Testing

@Suite("Rollout")
struct RolloutStateMachineTests {
  private static let rule = RolloutRule(
    requests: 2_000, errorRate: 0.01, p95Ratio: 1.2, drift: 0.2)

  /// Latencies between 1 and 2 ms, times `slower`, as evenly spread as counts allow.
  private static func latencies(_ count: Int, slower: Double = 1) -> [RolloutEvidence.LatencyCount]
  {
    (0..<100).map { step in
      RolloutEvidence.LatencyCount(
        microseconds: (1_000 + 10 * Double(step)) * slower,
        count: (step + 1) * count / 100 - step * count / 100)
    }
  }

  private static func bins(_ count: Int, shifted: Bool = false) -> [Int] {
    let shares = shifted ? [1, 1, 1, 1, 1, 1, 1, 1, 2, 10] : [Int](repeating: 2, count: 10)
    return shares.map { $0 * count / 20 }
  }

  private static func evidence(
    _ requests: Int, faults: Int = 0, slower: Double = 1, shifted: Bool = false
  ) -> RolloutEvidence {
    RolloutEvidence(
      canary: RolloutEvidence.Arm(
        version: 2, requests: requests, faults: faults,
        latencies: latencies(requests - faults, slower: slower),
        predictions: bins(requests - faults, shifted: shifted)),
      production: RolloutEvidence.Arm(
        version: 1, requests: requests * 9, latencies: latencies(requests * 9),
        predictions: bins(requests * 9)))
  }

  @Test(
    "a canary is judged by its evidence",
    arguments: [
      ("nothing was asked yet", evidence(0), .wait, "0 of 2000 requests so far"),
      ("few requests, all good", evidence(500), .wait, "500 of 2000 requests so far"),
      ("enough requests, all good", evidence(4_000), .promote, "4000 requests; error_rate 0"),
      ("one failure of three", evidence(3, faults: 1), .wait, "3 of 2000"),
      ("five failures of five are too few", evidence(5, faults: 5), .wait, "5 of 2000"),
      ("every request fails", evidence(20, faults: 20), .rollBack, "error_rate 1"),
      ("five percent fail", evidence(600, faults: 30), .rollBack, "error_rate 0.05"),
      ("errors at the limit", evidence(4_000, faults: 40), .wait, "not shown yet"),
      ("errors just below the limit", evidence(3_000, faults: 24), .wait, "error_rate 0.008"),
      ("twice as slow", evidence(1_000, slower: 2), .rollBack, "p95_ratio 2"),
      ("a little slower than allowed", evidence(300, slower: 1.21), .wait, "300 of 2000"),
      ("other predictions", evidence(1_000, shifted: true), .rollBack, "drift"),
    ] as [(String, RolloutEvidence, RolloutVerdict.Outcome, String)])
  func judged(
    name: String, evidence: RolloutEvidence, outcome: RolloutVerdict.Outcome, says: String
  ) {
    var machine = RolloutStateMachine(Self.rule)
    let verdict = machine.observe(evidence)
    #expect(verdict.outcome == outcome, "\(name): \(verdict)")
    #expect(verdict.why.contains(says), "\(name): \(verdict.why)")
    #expect(verdict.findings.map(\.limit) == ["error_rate", "p95_ratio", "drift"])
  }

  @Test("a decision is final")
  func isFinal() {
    var machine = RolloutStateMachine(Self.rule)
    #expect(machine.observe(Self.evidence(4_000)).outcome == .promote)
    #expect(machine.state == .promoted)
    #expect(machine.observe(Self.evidence(5_000, faults: 5_000)).outcome == .wait)
    #expect(machine.state == .promoted)
  }

  @Test("without predictions of production nothing is promoted")
  func alone() {
    var machine = RolloutStateMachine(Self.rule)
    var evidence = Self.evidence(10_000)
    evidence.production = RolloutEvidence.Arm(version: 1)
    let verdict = machine.observe(evidence)
    #expect(verdict.outcome == .wait && verdict.why.contains("p95_ratio"), "\(verdict.why)")
  }

  @Test("a realised metric that is worse by more than allowed rolls back, an equal one promotes")
  func metric() {
    let rule = RolloutRule(requests: 100, metricLoss: 0.05)
    func outcome(_ canary: Double, _ count: Int) -> RolloutVerdict.Outcome {
      var machine = RolloutStateMachine(rule)
      return machine.observe(
        RolloutEvidence(
          canary: RolloutEvidence.Arm(
            version: 2, requests: count, labelled: count, metricSum: canary * Double(count)),
          production: RolloutEvidence.Arm(
            version: 1, requests: count * 9, labelled: count * 9,
            metricSum: 0.8 * Double(count * 9)))
      ).outcome
    }
    #expect(outcome(0.8, 200) == .wait)
    #expect(outcome(0.8, 10_000) == .promote)
    #expect(outcome(0.7, 10_000) == .rollBack)
    #expect(outcome(0.75, 10_000) == .wait)
  }

  /// Worked out by another program (Python, `math.lgamma`) from the formula.
  @Test(
    "the bounds of a mean are those of the formula",
    arguments: [
      (10, 0, 0.05, 0, 0.3769873509906774),
      (2000, 0, 0.05, 0, 0.003677526747235046),
      (2000, 20, 0.05, 0.0037897119455972722, 0.02075544485038089),
      (2000, 20, 0.0125, 0.003402461478831505, 0.022029497160601458),
      (100, 100, 0.05, 0.9429714023612285, 1),
      (1_000_000, 10000, 0.05, 0.009558756391625619, 0.010454478835635517),
      (7, 3, 0.01, 0.030221543499988353, 0.925505216961191),
    ] as [(Double, Double, Double, Double, Double)])
  func bounds(count: Double, sum: Double, alpha: Double, low: Double, high: Double) {
    let found = MeanSequence(count: count, sum: sum).bounds(alpha: alpha)
    #expect(abs(found.lowerBound - low) <= 1e-9 + 1e-7 * low)
    #expect(abs(found.upperBound - high) <= 1e-9 + 1e-7 * high)
  }

  /// Runs one canary to its decision, looking after every 25 calls, as the watch would, at most 12,000 calls.
  private func run(
    _ random: inout SeededGenerator, fails rate: Double
  ) -> (outcome: RolloutVerdict.Outcome, calls: Int) {
    var machine = RolloutStateMachine(RolloutRule(requests: 500, errorRate: 0.02))
    var faults = 0
    for call in 1...12_000 {
      if random.chance(rate) { faults += 1 }
      guard call % 25 == 0 else { continue }
      let verdict = machine.observe(
        RolloutEvidence(
          canary: RolloutEvidence.Arm(version: 2, requests: call, faults: faults),
          production: RolloutEvidence.Arm(version: 1)))
      if verdict.outcome != .wait { return (verdict.outcome, call) }
    }
    return (.wait, 12_000)
  }

  @Test("however often one looks, at most one in twenty canaries at the limit is judged wrongly")
  func errorsOfTheTest() {
    let seed = UInt64.random(in: .min ... .max)
    var random = SeededGenerator(seed: seed)
    var promoted = 0
    var rolledBack = 0
    for _ in 0..<300 {
      switch run(&random, fails: 0.02).outcome {
      case .promote: promoted += 1
      case .rollBack: rolledBack += 1
      case .wait: break
      }
    }
    // Each has a probability of at most 5 %: 15 of 300, and 32 or more in one run of 10⁴.
    #expect(promoted < 32 && rolledBack < 32, "\(promoted), \(rolledBack), seed \(seed)")
  }

  @Test("a good canary is promoted and a bad one is rolled back, long before it has asked for much")
  func power() {
    let seed = UInt64.random(in: .min ... .max)
    var random = SeededGenerator(seed: seed)
    for _ in 0..<40 {
      let good = run(&random, fails: 0.002)
      #expect(good.outcome == .promote && good.calls <= 3_000, "\(good), seed \(seed)")
      let bad = run(&random, fails: 0.1)
      #expect(bad.outcome == .rollBack && bad.calls <= 500, "\(bad), seed \(seed)")
    }
  }

  @Test("the true p95 lies within its bounds at every look, but for one run in twenty at most")
  func quantiles() {
    let seed = UInt64.random(in: .min ... .max)
    var random = SeededGenerator(seed: seed)
    var misses = 0
    for _ in 0..<200 {
      var below = 0.0
      var isMissed = false
      for count in 1...2_000 {
        if random.unit() < 0.95 { below += 1 }
        if count % 20 == 0 {
          let ranks = MeanSequence.ranks(of: 0.95, count: Double(count), alpha: 0.05)
          if below < ranks.low || below > ranks.high { isMissed = true }
        }
      }
      if isMissed { misses += 1 }
    }
    // 10 of 200 expected at most, 24 or more in one run of 10⁴.
    #expect(misses < 24, "\(misses), seed \(seed)")
  }
}
