import Core
import Foundation

/// How far one column of a window is from its baseline.
package struct FeatureDrift: Sendable, Equatable, Codable {
  package var feature: String
  /// Population stability index over the baseline's bins; below 0.1 is stable, above 0.25 a shift.
  package var psi: Double
  /// Greatest distance of the two distribution functions, 0…1; nil for text.
  package var ks: Double?
  package var nullShare: Double
  package var baselineNullShare: Double

  package init(
    feature: String, psi: Double, ks: Double?, nullShare: Double, baselineNullShare: Double
  ) {
    self.feature = feature
    self.psi = psi
    self.ks = ks
    self.nullShare = nullShare
    self.baselineNullShare = baselineNullShare
  }
}

/// A window of live predictions against the baseline of the version that made them.
package struct DriftReport: Sendable, Equatable, Codable {
  package var model: String
  package var version: Int64
  package var rows: Int
  package var windowStart: Timestamp
  package var windowEnd: Timestamp
  /// The features in the order of the vector, then the prediction.
  package var features: [FeatureDrift]

  package init(
    model: String, version: Int64, rows: Int, windowStart: Timestamp, windowEnd: Timestamp,
    features: [FeatureDrift]
  ) {
    self.model = model
    self.version = version
    self.rows = rows
    self.windowStart = windowStart
    self.windowEnd = windowEnd
    self.features = features
  }

  /// The greatest PSI of all columns; 0 for an empty window.
  package var score: Double { features.map(\.psi).max() ?? 0 }
}

package enum DriftDetector {
  /// Compares every column of `window` with the baseline's profile of the same name; a column that is missing counts as all null.
  package static func compare(
    _ baseline: Baseline, window: ColumnBatch, version: Int64, from start: Timestamp,
    to end: Timestamp
  ) -> DriftReport {
    let features = (baseline.features + [baseline.prediction]).map { profile in
      let column =
        window[profile.name] ?? Column(name: profile.name, nulls: window.count, of: .double)
      return compare(profile, column)
    }
    return DriftReport(
      model: baseline.model, version: version, rows: window.count, windowStart: start,
      windowEnd: end, features: window.count == 0 ? [] : features)
  }

  static func compare(_ profile: ColumnProfile, _ column: Column) -> FeatureDrift {
    let counts = profile.histogram(of: column)
    let nulls = counts.last ?? 0
    return FeatureDrift(
      feature: profile.name, psi: populationStabilityIndex(profile.counts, counts),
      ks: profile.quantiles.isEmpty
        ? nil : kolmogorovSmirnov(profile.quantiles, presentNumbers(of: column).sorted()),
      nullShare: column.count == 0 ? 0 : Double(nulls) / Double(column.count),
      baselineNullShare: profile.nullShare)
  }

  /// Σ (aᵢ − bᵢ) ln(aᵢ / bᵢ) over the shares of the bins (Siddiqi, Credit Risk Scorecards, 2006).
  ///
  /// Half a count is added to every bin, so that an empty bin gives a large number and not infinity; bins that are empty on both sides are left out.
  static func populationStabilityIndex(_ expected: [Int], _ actual: [Int]) -> Double {
    let used = zip(expected, actual).filter { $0 + $1 > 0 }
    let expectedTotal = Double(used.reduce(0) { $0 + $1.0 }) + 0.5 * Double(used.count)
    let actualTotal = Double(used.reduce(0) { $0 + $1.1 }) + 0.5 * Double(used.count)
    return used.reduce(0) { sum, pair in
      let a = (Double(pair.1) + 0.5) / actualTotal
      let e = (Double(pair.0) + 0.5) / expectedTotal
      return sum + (a - e) * log(a / e)
    }
  }

  /// sup |F(x) − G(x)| of two samples, both sorted (the two-sample Kolmogorov–Smirnov statistic).
  static func kolmogorovSmirnov(_ a: [Double], _ b: [Double]) -> Double {
    guard !a.isEmpty, !b.isEmpty else { return 0 }
    var i = 0
    var j = 0
    var distance = 0.0
    while i < a.count, j < b.count {
      let x = min(a[i], b[j])
      while i < a.count, a[i] == x { i += 1 }
      while j < b.count, b[j] == x { j += 1 }
      distance = max(
        distance, abs(Double(i) / Double(a.count) - Double(j) / Double(b.count)))
    }
    return distance
  }
}
