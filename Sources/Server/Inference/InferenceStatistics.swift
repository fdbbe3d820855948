import Core
import Serving
import Synchronization

/// How often each model version was asked since the start, and how long it took.
///
/// Predictions of every transport count, not only those of this protocol.
final class InferenceStatistics: Sendable {
  struct Duration: Sendable, Equatable {
    var count: UInt64 = 0
    var nanoseconds: UInt64 = 0

    mutating func add(microseconds: Int) {
      count += 1
      nanoseconds += UInt64(max(0, microseconds)) * 1_000
    }
  }

  struct Counts: Sendable, Equatable {
    /// Milliseconds since the epoch.
    var last: UInt64 = 0
    /// Rows that were answered.
    var rows: UInt64 = 0
    var success = Duration()
    var failure = Duration()
    var queue = Duration()
    /// Reading the features.
    var input = Duration()
    var compute = Duration()
    /// What the rest of the call took.
    var output = Duration()
  }

  struct Entry: Sendable, Equatable {
    var model: String
    var version: Int64
    var counts: Counts
  }

  private struct Key: Hashable {
    var model: String
    var version: Int64
  }

  private let counts = Mutex<[Key: Counts]>([:])

  func record(_ answer: PredictAnswer, at time: Timestamp) {
    let latency = answer.latency
    let rest = latency.total - latency.hydrate - latency.queue - latency.compute
    counts.withLock { counts in
      let key = Key(model: answer.model, version: answer.version)
      counts[key, default: Counts()].add(
        latency, rest: rest, rows: answer.predictions.count, at: time)
    }
  }

  /// - Parameter version: that which would have answered.
  func recordFailure(model: String, version: Int64, microseconds: Int, at time: Timestamp) {
    counts.withLock { counts in
      counts[Key(model: model, version: version), default: Counts()].failure
        .add(microseconds: microseconds)
      counts[Key(model: model, version: version)]?.last = UInt64(max(0, time.microseconds / 1_000))
    }
  }

  func of(_ model: String, _ version: Int64) -> Counts {
    counts.withLock { $0[Key(model: model, version: version)] } ?? Counts()
  }
}

extension InferenceStatistics.Counts {
  fileprivate mutating func add(
    _ latency: PredictLatency, rest: Int, rows: Int, at time: Timestamp
  ) {
    last = UInt64(max(0, time.microseconds / 1_000))
    self.rows += UInt64(rows)
    success.add(microseconds: latency.total)
    queue.add(microseconds: latency.queue)
    input.add(microseconds: latency.hydrate)
    compute.add(microseconds: latency.compute)
    output.add(microseconds: rest)
  }
}

extension InferenceService {
  /// - Parameters: nil is all models, and all versions.
  func statistics(of name: String?, version: String?) throws -> [InferenceStatistics.Entry] {
    let snapshot = services.online.visible.current
    var models = snapshot.project.models.map(\.name)
    var number: Int64?
    if let name, !name.isEmpty {
      models = [name]
      number = try signature(of: name, version).number
    }
    return models.flatMap { name in
      (snapshot.models[name] ?? []).map(\.version).filter { number == nil || $0 == number }
        .map { version in
          InferenceStatistics.Entry(
            model: name, version: version, counts: services.statistics.of(name, version))
        }
    }
  }
}

extension InferenceStatistics.Entry {
  var json: JSON {
    func duration(_ one: InferenceStatistics.Duration) -> JSON {
      .object(["count": .int(Int64(one.count)), "ns": .int(Int64(one.nanoseconds))])
    }
    return .object([
      "name": .string(model), "version": .string(String(version)),
      "last_inference": .int(Int64(counts.last)), "inference_count": .int(Int64(counts.rows)),
      "execution_count": .int(Int64(counts.success.count)),
      "inference_stats": .object([
        "success": duration(counts.success), "fail": duration(counts.failure),
        "queue": duration(counts.queue), "compute_input": duration(counts.input),
        "compute_infer": duration(counts.compute), "compute_output": duration(counts.output),
        "cache_hit": duration(.init()), "cache_miss": duration(.init()),
      ]),
      "batch_stats": .array([]), "memory_usage": .array([]),
    ])
  }
}
