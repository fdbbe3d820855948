import Core
import Serving
import TestKit
import Testing

@Suite("Latencies")
struct LatencyTests {
  @Test("a quantile is that of the sorted values, at most 1/128 above it")
  func quantiles() {
    let seed = UInt64.random(in: .min ... .max)
    var random = SeededGenerator(seed: seed)
    for _ in 0..<20 {
      let scale = Double(1 << random.below(30))
      let values = (0..<1 + random.below(3_000)).map { _ in Int(random.unit() * scale) }
      var histogram = LatencyHistogram()
      for value in values { histogram.record(value) }
      let sorted = values.sorted()
      #expect(histogram.count == values.count && histogram.maximum == sorted.last)
      for share in [0.001, 0.5, 0.95, 0.99, 1] {
        let rank = max(1, Int((share * Double(values.count)).rounded(.up)))
        let exact = sorted[rank - 1]
        let found = histogram.quantile(share) ?? -1
        #expect(
          found >= exact && Double(found) <= Double(exact) * (1 + 1.0 / 128),
          "\(found) for \(exact), seed \(seed)")
      }
    }
  }

  @Test("the sum of two histograms is the histogram of both")
  func sum() {
    var random = SeededGenerator(seed: 5)
    var parts = [LatencyHistogram(), LatencyHistogram()]
    var whole = LatencyHistogram()
    for number in 0..<1_000 {
      let value = random.below(1 << (1 + number % 30))
      parts[number % 2].record(value)
      whole.record(value)
    }
    parts[0].add(parts[1])
    #expect(parts[0] == whole)
  }

  @Test("what is below zero or longer than the longest counts as the nearest that there is")
  func bounds() {
    var histogram = LatencyHistogram()
    histogram.record(-5)
    histogram.record(.max)
    #expect(histogram.quantile(0.5) == 0)
    #expect(histogram.quantile(1) == LatencyHistogram.longest)
    #expect(LatencyHistogram().quantile(0.5) == nil)
  }

  @Test("a window forgets what is older than it, and keeps what is younger than it less a slice")
  func windows() {
    var windows = LatencyWindows()
    let second: Int64 = 1_000_000
    windows.record(10, at: 0)
    windows.record(20, at: 100 * second)
    func count(_ window: LatencyWindows.Window, _ time: Int64) -> Int {
      windows.values(window, at: time * second).count
    }
    #expect(count(.minute, 54) == 1 && count(.minute, 60) == 0)
    #expect(count(.minute, 154) == 1 && count(.minute, 160) == 0)
    #expect(count(.fiveMinutes, 260) == 2 && count(.fiveMinutes, 300) == 1)
    #expect(count(.hour, 3_200) == 2 && count(.hour, 3_600) == 0)
    // Long after, the ring begins anew without what it had.
    windows.record(30, at: 100_000 * second)
    #expect(count(.minute, 100_000) == 1 && count(.hour, 100_000) == 1)
  }

  private func call(_ id: Int, total: Int, version: Int64 = 1) -> SlowCall {
    var latency = PredictLatency()
    latency.total = total
    latency.compute = total / 2
    return SlowCall(
      requestID: "r\(id)", version: version, route: .production, rows: 1, latency: latency,
      time: Timestamp(microseconds: 0))
  }

  @Test("the slowest calls of the last hour are kept with their split, the slowest first")
  func slow() {
    let book = LatencyBook(model: "churn")
    for number in 0..<500 {
      book.record(call(number, total: (number * 37) % 500), stage: .production, at: 0)
    }
    let slow = book.slowCalls(at: 0)
    #expect(slow.map(\.latency.total) == Array(((500 - Limits.slowCalls)..<500).reversed()))
    #expect(slow[0].latency.compute == 249)
    book.record(call(1_000, total: 3), stage: .production, at: 3_600_000_000)
    #expect(book.slowCalls(at: 3_600_000_000).map(\.requestID) == ["r1000"])
  }

  @Test("latencies are apart by version and way, and the number of them is bounded")
  func series() {
    let book = LatencyBook(model: "churn")
    for version in 1...Int64(Limits.latencySeries + 10) {
      book.record(
        call(1, total: 100 * Int(version), version: version), stage: .production, at: version)
    }
    let reports = book.reports(at: 0)
    #expect(reports.count == Limits.latencySeries)
    #expect(reports.first?.version == Int64(Limits.latencySeries + 10))
    let total = reports.first?.windows[.minute]?[.total]
    #expect(total?.count == 1 && total?.p50 == total?.maximum)
  }
}
