import CoreMetrics
import Synchronization

/// A swift-metrics backend that is read in the Prometheus text format (version 0.0.4).
///
/// Recording is an atomic or a short lock on one series; making a handle takes the registry's lock, so rooms keep theirs.
/// Timers and aggregating recorders are histograms, in seconds for timers; other recorders are gauges.
package final class PrometheusMetrics: MetricsFactory, Sendable {
  private struct Series: Hashable {
    var name: String
    var labels: String
  }

  fileprivate enum Handler: Sendable {
    case counter(CounterSeries)
    case gauge(GaugeSeries)
    case histogram(HistogramSeries)
  }

  private let series = Mutex<[Series: Handler]>([:])
  private let help: [String: String]

  /// - Parameter help: a sentence per metric name.
  package init(help: [String: String] = MetricCatalog.help) { self.help = help }

  package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
    counter(label, dimensions)
  }

  package func makeFloatingPointCounter(
    label: String, dimensions: [(String, String)]
  ) -> any FloatingPointCounterHandler { counter(label, dimensions) }

  package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
    gauge(label, dimensions)
  }

  package func makeRecorder(
    label: String, dimensions: [(String, String)], aggregate: Bool
  ) -> any RecorderHandler {
    aggregate ? histogram(label, dimensions) : gauge(label, dimensions)
  }

  package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    histogram(label, dimensions)
  }

  /// Sets a counter to a total that is kept elsewhere.
  package func setCounter(_ label: String, _ dimensions: [(String, String)], to total: Int) {
    counter(label, dimensions).set(UInt64(max(0, total)))
  }

  package func setGauge(_ label: String, _ dimensions: [(String, String)], to value: Double) {
    gauge(label, dimensions).record(value)
  }

  /// Lets every gauge of a name go: what it was of is no longer here.
  package func clearGauges(_ label: String) {
    series.withLock { series in
      series = series.filter { key, handler in
        if key.name == label, case .gauge = handler { false } else { true }
      }
    }
  }

  package func destroyCounter(_ handler: any CounterHandler) {}
  package func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {}
  package func destroyMeter(_ handler: any MeterHandler) {}
  package func destroyRecorder(_ handler: any RecorderHandler) {}
  package func destroyTimer(_ handler: any TimerHandler) {}

  private func counter(_ label: String, _ dimensions: [(String, String)]) -> CounterSeries {
    let found = handler(label, dimensions) { .counter(CounterSeries()) }
    if case .counter(let counter) = found { return counter }
    return CounterSeries()
  }

  private func gauge(_ label: String, _ dimensions: [(String, String)]) -> GaugeSeries {
    let found = handler(label, dimensions) { .gauge(GaugeSeries()) }
    if case .gauge(let gauge) = found { return gauge }
    return GaugeSeries()
  }

  private func histogram(_ label: String, _ dimensions: [(String, String)]) -> HistogramSeries {
    let found = handler(label, dimensions) { .histogram(HistogramSeries()) }
    if case .histogram(let histogram) = found { return histogram }
    return HistogramSeries()
  }

  private func handler(
    _ label: String, _ dimensions: [(String, String)], _ make: () -> Handler
  ) -> Handler {
    let key = Series(name: label, labels: Self.labels(dimensions))
    return series.withLock { series in
      if let found = series[key] { return found }
      let made = make()
      series[key] = made
      return made
    }
  }

  private static func labels(_ dimensions: [(String, String)]) -> String {
    dimensions.map { name, value in
      let escaped = value.escaping("\\\"", with: "\\")
        .split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }
        .joined(separator: "\\n")
      return "\(name)=\"\(escaped)\""
    }.joined(separator: ",")
  }

  /// Everything recorded so far, as Prometheus text.
  package func exposition() -> String {
    let all = series.withLock { Array($0) }.sorted {
      ($0.key.name, $0.key.labels) < ($1.key.name, $1.key.labels)
    }
    var text = ""
    var name = ""
    for (key, handler) in all {
      if key.name != name {
        name = key.name
        text += "# HELP \(name) \(help[name] ?? name)\n# TYPE \(name) \(handler.type)\n"
      }
      handler.write(name: key.name, labels: key.labels, into: &text)
    }
    return text
  }
}

extension PrometheusMetrics.Handler {
  var type: String {
    switch self {
    case .counter: "counter"
    case .gauge: "gauge"
    case .histogram: "histogram"
    }
  }

  func write(name: String, labels: String, into text: inout String) {
    let braced = labels.isEmpty ? "" : "{\(labels)}"
    switch self {
    case .counter(let counter): text += "\(name)\(braced) \(counter.value)\n"
    case .gauge(let gauge): text += "\(name)\(braced) \(gauge.value)\n"
    case .histogram(let histogram):
      let (counts, count, sum) = histogram.values
      let prefix = labels.isEmpty ? "" : labels + ","
      var total: UInt64 = 0
      for (bound, inBucket) in zip(HistogramSeries.bounds, counts) {
        total += inBucket
        text += "\(name)_bucket{\(prefix)le=\"\(bound)\"} \(total)\n"
      }
      text += "\(name)_bucket{\(prefix)le=\"+Inf\"} \(count)\n"
      text += "\(name)_sum\(braced) \(sum)\n\(name)_count\(braced) \(count)\n"
    }
  }
}

private final class CounterSeries: CounterHandler, FloatingPointCounterHandler {
  private let count = Atomic<UInt64>(0)

  var value: UInt64 { count.load(ordering: .relaxed) }

  func increment(by amount: Int64) { count.wrappingAdd(UInt64(max(0, amount)), ordering: .relaxed) }
  func increment(by amount: Double) { increment(by: Int64(amount)) }
  func set(_ total: UInt64) { count.store(total, ordering: .relaxed) }
  func reset() { count.store(0, ordering: .relaxed) }
}

private final class GaugeSeries: RecorderHandler, MeterHandler {
  private let bits = Atomic<UInt64>(0)

  var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }

  func record(_ value: Int64) { record(Double(value)) }
  func record(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }
  func set(_ value: Int64) { record(Double(value)) }
  func set(_ value: Double) { record(value) }
  func increment(by amount: Double) { record(value + amount) }
  func decrement(by amount: Double) { record(value - amount) }
}

private final class HistogramSeries: RecorderHandler, TimerHandler {
  /// Seconds, from 50 µs to a minute: the spread from an in-memory read to a training job's step.
  static let bounds: [Double] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
    2.5, 5, 10, 60,
  ]

  private struct State {
    var counts = [UInt64](repeating: 0, count: HistogramSeries.bounds.count)
    var count: UInt64 = 0
    var sum = 0.0
  }

  private let state = Mutex(State())

  var values: (counts: [UInt64], count: UInt64, sum: Double) {
    state.withLock { ($0.counts, $0.count, $0.sum) }
  }

  func record(_ value: Int64) { record(Double(value)) }

  func record(_ value: Double) {
    let bucket = Self.bounds.firstIndex { value <= $0 }
    state.withLock { state in
      if let bucket { state.counts[bucket] += 1 }
      state.count += 1
      state.sum += value
    }
  }

  func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }
}
