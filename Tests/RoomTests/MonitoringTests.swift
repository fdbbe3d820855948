import Core
import Foundation
import Monitoring
import Testing

private func numbers(_ name: String, _ values: [Double?]) -> Column {
  Column(name: name, type: .double, values.map { $0.map { .double($0) } ?? .null })
}

@Suite("Drift")
struct DriftTests {
  private let training = (0..<1000).map { Double($0 % 100) }

  private func report(_ baseline: [Double?], _ live: [Double?]) -> FeatureDrift {
    let profile = Baseline(
      model: "m", features: ColumnBatch(columns: [numbers("x", baseline)]),
      predictions: baseline.map { _ in 0.5 })
    let window = ColumnBatch(columns: [
      numbers("x", live), numbers(Baseline.predictionName, live.map { _ in 0.5 }),
    ])
    return DriftDetector.compare(
      profile, window: window, version: 1, from: Timestamp(microseconds: 0),
      to: Timestamp(microseconds: 1)
    ).features[0]
  }

  @Test("the same distribution has no drift")
  func same() {
    let drift = report(training, training)
    #expect(drift.psi < 0.001)
    #expect((drift.ks ?? 1) < 0.02)
  }

  @Test("a shift by half the range is seen by both tests")
  func shifted() {
    let drift = report(training, training.map { $0 + 50 })
    #expect(drift.psi > 1)
    #expect(abs((drift.ks ?? 0) - 0.5) < 0.02)
  }

  @Test("PSI is the sum of (a − b) ln(a / b), computed independently on two bins")
  func formula() {
    // 300 of 0 and 700 of 1 against 500 and 500; the null bin is empty on both sides and left out.
    let drift = report(
      (0..<1000).map { $0 < 300 ? 0 : 1 }, (0..<1000).map { $0 < 500 ? 0 : 1 })
    let (a, b) = (500.5 / 1001, 300.5 / 1001)
    let (c, d) = (500.5 / 1001, 700.5 / 1001)
    #expect(abs(drift.psi - ((a - b) * log(a / b) + (c - d) * log(c / d))) < 1e-12)
  }

  @Test("nulls that appear are drift, even where the values stay the same")
  func nulls() {
    let drift = report(
      training, training.enumerated().map { $0.offset % 3 == 0 ? nil : $0.element })
    #expect(drift.psi > 0.25)
    #expect(drift.baselineNullShare == 0 && abs(drift.nullShare - 1.0 / 3) < 0.01)
  }

  @Test("a column that is mostly one value still shows a change (rain on dry days)")
  func mostlyOneValue() {
    func rain(every days: Int) -> [Double?] {
      (0..<1000).map { (day: Int) -> Double? in
        guard day % days == 0 else { return 0 }
        return Double(day % 7) / 10 + 0.1
      }
    }
    let dry = rain(every: 20)
    let wet = rain(every: 2)
    #expect(report(dry, wet).psi > 0.25)
  }

  @Test("an empty window has no score")
  func empty() {
    let baseline = Baseline(
      model: "m", features: ColumnBatch(columns: [numbers("x", training)]), predictions: training)
    let report = DriftDetector.compare(
      baseline, window: ColumnBatch(columns: []), version: 1, from: Timestamp(microseconds: 0),
      to: Timestamp(microseconds: 1))
    #expect(report.score == 0 && report.features.isEmpty)
  }

  @Test("a baseline is the same after encoding, and the same statistics give the same bytes")
  func encoding() throws {
    let baseline = Baseline(
      model: "m", features: ColumnBatch(columns: [numbers("x", training + [nil])]),
      predictions: training + [0])
    let bytes = try baseline.encoded()
    #expect(try Baseline(decoding: bytes) == baseline)
    #expect(try baseline.encoded() == bytes)
  }
}

@Suite("The trigger policy")
struct TriggerPolicyTests {
  private let rule = DriftDefinition(
    window: .hours(1), retrainAbove: 0.25, coolDown: .hours(2), minimumRows: 100)
  private let now = Timestamp(microseconds: 10_000_000_000)

  private func report(rows: Int = 500, psi: Double = 0.5) -> DriftReport {
    let drift = FeatureDrift(feature: "v.x", psi: psi, ks: 0.1, nullShare: 0, baselineNullShare: 0)
    return DriftReport(
      model: "m", version: 3, rows: rows, windowStart: now, windowEnd: now, features: [drift])
  }

  @Test("a score above the threshold fires with the feature that moved most")
  func fires() {
    let decision = TriggerPolicy.evaluate(
      report(), rule, lastTriggered: nil, inFlight: false, now: now)
    guard case .fire(let trigger) = decision else {
      Issue.record("expected a trigger, got \(decision)")
      return
    }
    #expect(trigger.feature == "v.x" && trigger.version == 3 && trigger.reason.contains("0.5"))
  }

  @Test("no second job while one is in flight, nor within the cool-down, nor on too few rows")
  func holdsBack() {
    #expect(
      TriggerPolicy.evaluate(report(), rule, lastTriggered: nil, inFlight: true, now: now)
        == .inFlight)
    #expect(
      TriggerPolicy.evaluate(
        report(), rule, lastTriggered: now - .hours(1), inFlight: false, now: now)
        == .coolingDown(until: now + .hours(1)))
    #expect(
      TriggerPolicy.evaluate(report(rows: 99), rule, lastTriggered: nil, inFlight: false, now: now)
        == .tooFewRows(99, needed: 100))
    #expect(
      TriggerPolicy.evaluate(report(psi: 0.2), rule, lastTriggered: nil, inFlight: false, now: now)
        == .belowThreshold(0.2))
    let watching = DriftDefinition(window: .hours(1))
    #expect(
      TriggerPolicy.evaluate(report(), watching, lastTriggered: nil, inFlight: false, now: now)
        == .watchOnly)
  }
}
