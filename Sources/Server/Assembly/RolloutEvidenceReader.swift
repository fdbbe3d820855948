import Core
import Foundation
import Monitoring
import Serving
import Synchronization

/// Counts what the prediction log has of a canary and of production since the canary began.
///
/// The log is read, and not counters of this process, because it outlives a restart and holds what every process that shares
/// the warehouse has answered. Three queries, each of which answers counts: how many rows there are does not matter.
struct RolloutEvidenceReader: Sendable {
  /// Latencies are counted by this many buckets for each factor of e: 1.6 % wide.
  private static let bucketsPerE = 64.0

  let warehouse: any Warehouse
  let blobs: any BlobStore

  func read(
    _ model: ModelDefinition, _ canary: CanaryState, _ production: ModelVersion
  ) async throws -> RolloutEvidence {
    var evidence = RolloutEvidence(
      canary: RolloutEvidence.Arm(version: canary.version),
      production: RolloutEvidence.Arm(version: production.version))
    let rule = model.rollout?.after
    try await readCalls(of: model.name, since: canary.since, into: &evidence)
    if rule?.drift != nil {
      let baseline = try Baseline(decoding: try await blobs.get(production.baseline))
      if case .edges(let edges) = baseline.prediction.bins {
        try await readPredictions(of: model.name, since: canary.since, edges, into: &evidence)
      }
    }
    if rule?.metricLoss != nil, let metric = model.train?.metric {
      try await readMetric(metric, of: model.name, since: canary.since, into: &evidence)
    }
    return evidence
  }

  /// The first row of a call stands for it: the rows of one call fail and wait together.
  private func readCalls(
    of model: String, since: Timestamp, into evidence: inout RolloutEvidence
  ) async throws {
    let sql = """
      SELECT model_version, other_version, route, coalesce(version_fault, false),
        model_error IS NULL, CAST(floor(ln(greatest(total_us, 1)) * \(Self.bucketsPerE)) AS BIGINT) AS bucket,
        count(*)
      FROM model_logs
      WHERE model_id = ? AND event_datetime >= ? AND call_row = 0
        AND route IN ('production', 'canary', 'fallback')
      GROUP BY ALL ORDER BY bucket
      """
    for row in try await rows(sql, [.string(model), .timestamp(since)]) {
      guard case .int64(let bucket) = row[5], case .int64(let calls) = row[6] else { continue }
      let count = Int(calls)
      let isAnswered = row[4] == .bool(true)
      let isFault = row[3] == .bool(true)
      switch row[2] {
      case .string("fallback"):
        // Whoever answered: the canary did not.
        guard row[1] == .string(String(evidence.canary.version)) else { continue }
        evidence.canary.requests += count
        evidence.canary.faults += count
      case .string("canary") where row[0] == .string(String(evidence.canary.version)):
        evidence.canary.count(count, isAnswered, isFault, Self.latency(bucket))
      case .string("production") where row[0] == .string(String(evidence.production.version)):
        evidence.production.count(count, isAnswered, isFault, Self.latency(bucket))
      default: break
      }
    }
  }

  private static func latency(_ bucket: Int64) -> Double {
    exp(Double(bucket + 1) / bucketsPerE)
  }

  private func readPredictions(
    of model: String, since: Timestamp, _ edges: [Double], into evidence: inout RolloutEvidence
  ) async throws {
    let bins = edges.enumerated().map { "WHEN model_result <= \($1) THEN \($0)" }
    let bin = bins.isEmpty ? "0" : "CASE \(bins.joined(separator: " ")) ELSE \(edges.count) END"
    let sql = """
      SELECT model_version, CAST(\(bin) AS BIGINT), count(*) FROM model_logs
      WHERE model_id = ? AND event_datetime >= ? AND model_error IS NULL AND model_result IS NOT NULL
        AND route IN ('production', 'canary', 'fallback')
      GROUP BY ALL
      """
    evidence.canary.predictions = [Int](repeating: 0, count: edges.count + 1)
    evidence.production.predictions = evidence.canary.predictions
    for row in try await rows(sql, [.string(model), .timestamp(since)]) {
      guard case .int64(let bin) = row[1], case .int64(let count) = row[2] else { continue }
      if row[0] == .string(String(evidence.canary.version)) {
        evidence.canary.predictions[Int(bin)] += Int(count)
      } else if row[0] == .string(String(evidence.production.version)) {
        evidence.production.predictions[Int(bin)] += Int(count)
      }
    }
  }

  /// Of the realised metric what a sequential test can use: a value between 0 and 1 for each labelled row, or for each pair.
  private func readMetric(
    _ metric: TrainingDefinition.Metric, of model: String, since: Timestamp,
    into evidence: inout RolloutEvidence
  ) async throws {
    let labelled = """
      WITH known AS (
        SELECT request_id, arg_max(label, created_at) AS label FROM labels
        WHERE model_id = ? GROUP BY request_id),
      labelled AS (
        SELECT p.model_version AS version, p.model_result AS result, known.label > 0.5 AS label,
          row_number() OVER (
            PARTITION BY p.model_version, known.label > 0.5 ORDER BY p.event_datetime, p.request_id) AS place
        FROM model_logs p JOIN known ON known.request_id = p.request_id
        WHERE p.model_id = ? AND p.event_datetime >= ? AND p.model_error IS NULL
          AND p.route IN ('production', 'canary', 'fallback'))
      """
    let counted =
      switch metric {
      // The share of pairs of a positive and a negative that are in order is the AUC; disjoint pairs are independent.
      case .rocAUC:
        """
        SELECT a.version, count(*), CAST(sum(CASE WHEN a.result > b.result THEN 1 WHEN a.result = b.result THEN 0.5 ELSE 0 END) AS DOUBLE)
        FROM labelled a JOIN labelled b ON a.version = b.version AND a.place = b.place AND a.label AND NOT b.label
        GROUP BY a.version
        """
      default:
        "SELECT version, count(*), CAST(count(*) FILTER ((result > 0.5) = label) AS DOUBLE) FROM labelled GROUP BY version"
      }
    let found = try await rows(
      labelled + counted, [.string(model), .string(model), .timestamp(since)])
    for row in found {
      guard case .int64(let count) = row[1], case .double(let sum) = row[2] else { continue }
      if row[0] == .string(String(evidence.canary.version)) {
        evidence.canary.labelled = Int(count)
        evidence.canary.metricSum = sum
      } else if row[0] == .string(String(evidence.production.version)) {
        evidence.production.labelled = Int(count)
        evidence.production.metricSum = sum
      }
    }
  }

  private func rows(_ sql: String, _ parameters: [Value]) async throws -> [[Value]] {
    let found = Mutex<[[Value]]>([])
    try await warehouse.stream(sql, parameters) { batch in
      let rows = (0..<batch.count).map { row in batch.columns.map { $0[row] } }
      found.withLock { $0 += rows }
    }
    return found.withLock { $0 }
  }
}

extension RolloutEvidence.Arm {
  /// Calls that failed by no fault of the version are not counted: they say nothing of it.
  fileprivate mutating func count(
    _ count: Int, _ isAnswered: Bool, _ isFault: Bool, _ latency: Double
  ) {
    guard isAnswered || isFault else { return }
    requests += count
    if isFault { faults += count }
    guard isAnswered else { return }
    if latencies.last?.microseconds == latency {
      latencies[latencies.count - 1].count += count
    } else {
      latencies.append(RolloutEvidence.LatencyCount(microseconds: latency, count: count))
    }
  }
}
