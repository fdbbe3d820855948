import Core
import Serving
import Workers

/// Latencies of predictions as JSON.
enum LatencyJSON {
  static func reports(_ book: LatencyBook, _ model: String) -> JSON {
    let now = WorkerClock.system.now().microseconds
    return .object([
      "model": .string(model), "series": .array(book.reports(at: now).map(series)),
      "slow": .array(book.slowCalls(at: now).map(slow)),
    ])
  }

  private static func series(_ report: LatencyReport) -> JSON {
    let windows = LatencyWindows.Window.allCases.flatMap { window in
      LatencyPart.allCases.compactMap { part in
        report.windows[window]?[part].map { quantiles in
          JSON.object([
            "window": .string(window.rawValue), "part": .string(part.rawValue),
            "count": .int(Int64(quantiles.count)), "p50_us": .int(Int64(quantiles.p50)),
            "p95_us": .int(Int64(quantiles.p95)), "p99_us": .int(Int64(quantiles.p99)),
            "max_us": .int(Int64(quantiles.maximum)),
          ])
        }
      }
    }
    return .object([
      "version": .int(report.version), "stage": .string(report.stage.rawValue),
      "route": .string(report.route.rawValue), "windows": .array(windows),
    ])
  }

  private static func slow(_ call: SlowCall) -> JSON {
    .object([
      "request_id": .string(call.requestID), "version": .int(call.version),
      "route": .string(call.route.rawValue), "rows": .int(Int64(call.rows)),
      "time": .string(call.time.description), "latency_us": latency(call.latency),
    ])
  }

  static func latency(_ latency: PredictLatency) -> JSON {
    .object([
      "hydrate": .int(Int64(latency.hydrate)), "queue": .int(Int64(latency.queue)),
      "compute": .int(Int64(latency.compute)), "total": .int(Int64(latency.total)),
    ])
  }
}
