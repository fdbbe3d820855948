import Core
import Metrics
import Synchronization

/// Where the time of a prediction goes.
package enum LatencyPart: String, Sendable, CaseIterable {
  case hydrate, queue, compute, total
}

extension PredictLatency {
  fileprivate func microseconds(_ part: LatencyPart) -> Int {
    switch part {
    case .hydrate: hydrate
    case .queue: queue
    case .compute: compute
    case .total: total
    }
  }
}

/// What one version took for the calls that came to it by one way.
package struct LatencyReport: Sendable {
  package struct Quantiles: Sendable, Equatable {
    package var count: Int
    package var p50: Int
    package var p95: Int
    package var p99: Int
    package var maximum: Int
  }

  package var version: Int64
  package var stage: ModelStage
  package var route: Route.Kind
  /// Windows without a call are left out.
  package var windows: [LatencyWindows.Window: [LatencyPart: Quantiles]]
}

/// One slow call, with its split.
package struct SlowCall: Sendable, Equatable {
  package var requestID: String
  package var version: Int64
  package var route: Route.Kind
  package var rows: Int
  package var latency: PredictLatency
  /// By the platform's clock.
  package var time: Timestamp

  package init(
    requestID: String, version: Int64, route: Route.Kind, rows: Int, latency: PredictLatency,
    time: Timestamp
  ) {
    self.requestID = requestID
    self.version = version
    self.route = route
    self.rows = rows
    self.latency = latency
    self.time = time
  }
}

/// The latencies of one model's answers, by version, stage and way.
///
/// Guarantees: recording takes one short lock; memory is bounded by `Limits.latencySeries` ways of versions, of which the least
/// used goes first, and by `Limits.slowCalls` slow calls of the last hour.
package final class LatencyBook: Sendable {
  private struct Key: Hashable {
    var version: Int64
    var route: Route.Kind
  }

  /// Only reached under the lock of the book.
  private final class Series {
    var stage: ModelStage
    var parts = LatencyPart.allCases.map { _ in LatencyWindows() }
    let timers: [Metrics.Timer]
    var lastUse: Int64 = 0

    init(stage: ModelStage, timers: [Metrics.Timer]) {
      self.stage = stage
      self.timers = timers
    }
  }

  private struct Book {
    var series: [Key: Series] = [:]
    /// The slowest first, with when they were recorded.
    var slow: [(time: Int64, call: SlowCall)] = []
  }

  private static let hour: Int64 = 3_600_000_000
  private let model: String
  private let book = Mutex(Book())

  package init(model: String) { self.model = model }

  /// - Parameter now: microseconds of a clock that does not go back.
  package func record(_ call: SlowCall, stage: ModelStage, at now: Int64) {
    let timers = book.withLock { book in
      let series = series(Key(version: call.version, route: call.route), stage, &book)
      series.stage = stage
      series.lastUse = now
      for (index, part) in LatencyPart.allCases.enumerated() {
        series.parts[index].record(call.latency.microseconds(part), at: now)
      }
      keep(call, now, &book)
      return series.timers
    }
    for (timer, part) in zip(timers, LatencyPart.allCases) {
      timer.recordMicroseconds(call.latency.microseconds(part))
    }
  }

  private func series(_ key: Key, _ stage: ModelStage, _ book: inout Book) -> Series {
    if let known = book.series[key] { return known }
    makeRoom(&book)
    let made = Series(
      stage: stage,
      timers: LatencyPart.allCases.map { part in
        Metrics.Timer(
          label: "martlet_predict_seconds",
          dimensions: [
            ("model", model), ("version", String(key.version)), ("route", key.route.rawValue),
            ("stage", part.rawValue),
          ])
      })
    book.series[key] = made
    return made
  }

  private func makeRoom(_ book: inout Book) {
    guard book.series.count >= Limits.latencySeries,
      let oldest = book.series.min(by: { $0.value.lastUse < $1.value.lastUse })
    else { return }
    book.series[oldest.key] = nil
  }

  private func keep(_ call: SlowCall, _ now: Int64, _ book: inout Book) {
    if book.slow.count == Limits.slowCalls, let last = book.slow.last,
      last.call.latency.total >= call.latency.total,
      book.slow.allSatisfy({ now - $0.time < Self.hour })
    {
      return
    }
    book.slow.removeAll { now - $0.time >= Self.hour }
    let place =
      book.slow.firstIndex { $0.call.latency.total < call.latency.total } ?? book.slow.count
    book.slow.insert((now, call), at: place)
    book.slow.removeLast(max(0, book.slow.count - Limits.slowCalls))
  }

  /// By version, the newest first, and by way.
  package func reports(at now: Int64) -> [LatencyReport] {
    book.withLock { book in
      book.series.map { key, series in
        LatencyReport(
          version: key.version, stage: series.stage, route: key.route,
          windows: Self.windows(series.parts, at: now))
      }
    }.sorted { ($1.version, $0.route.rawValue) < ($0.version, $1.route.rawValue) }
  }

  private static func windows(
    _ parts: [LatencyWindows], at now: Int64
  ) -> [LatencyWindows.Window: [LatencyPart: LatencyReport.Quantiles]] {
    var windows: [LatencyWindows.Window: [LatencyPart: LatencyReport.Quantiles]] = [:]
    for window in LatencyWindows.Window.allCases {
      for (part, latencies) in zip(LatencyPart.allCases, parts) {
        let values = latencies.values(window, at: now)
        guard let p50 = values.quantile(0.5), let p95 = values.quantile(0.95),
          let p99 = values.quantile(0.99)
        else { continue }
        windows[window, default: [:]][part] = LatencyReport.Quantiles(
          count: values.count, p50: p50, p95: p95, p99: p99, maximum: values.maximum)
      }
    }
    return windows
  }

  /// The slowest calls of the last hour, the slowest first.
  package func slowCalls(at now: Int64) -> [SlowCall] {
    book.withLock { $0.slow }.filter { now - $0.time < Self.hour }.map(\.call)
  }
}
