import ArgumentParser
import Core
import Foundation
import Server

struct BackfillCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backfill",
    abstract:
      "Compute the online state of a view, or the transform columns of a source, anew from raw events.",
    discussion: """
      What is new is built beside what is read, while events come in, and takes its place at once. It is a \
      job: it goes on after a crash, `martlet jobs list` shows how far it is, `martlet jobs cancel` ends it. Of a \
      source its transform runs again over the stored events, and the views that are made of them follow.

      EXAMPLE
        martlet backfill customer_orders
        martlet backfill customer_orders.spend_30d --throttle 100000 --no-wait
        martlet backfill source:orders --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z
      """)

  @OptionGroup var options: CommonOptions
  @Argument(
    help: "The view, or a feature of it: a view's features share one state. Or source:NAME.")
  var target: String
  @Option(help: "Only events that happened at this time or later.") var from: String?
  @Option(help: "Only events that happened before this time.") var to: String?
  @Option(help: "The most events read a second.") var throttle: Int64?
  @Option(help: "Why, for the list of jobs.") var reason = "asked for"
  @Flag(inversion: .prefixedNo, help: "Wait for its end.") var wait = true

  func run() async throws {
    let body = JSON.object([
      "reason": .string(reason), "rows_per_second": throttle.map { .int($0) } ?? .null,
      "from": from.map { .string($0) } ?? .null, "to": to.map { .string($0) } ?? .null,
    ])
    let source = target.hasPrefix("source:") ? String(target.dropFirst("source:".count)) : nil
    let path = source.map { "sources/\($0.urlEscaped)" } ?? "views/\(target.urlEscaped)"
    let job = try await PlatformConnection.with(options) { [self] platform in
      var job = try await platform.post("/api/v1/\(path)/backfill", body)
      var shown = ""
      while wait, ["PENDING", "RUNNING"].contains(job["state"]?.string ?? "") {
        if let progress = job["progress"]?.string, progress != shown {
          shown = progress
          if !options.json { FileHandle.standardError.write(Data("\(progress) …\n".utf8)) }
        }
        job = try await platform.get(
          "/api/v1/jobs/\((job["id"]?.string ?? "").urlEscaped)?wait=true&seen=\(shown.urlEscaped)")
      }
      return job
    }
    if options.json { print(job.text) }
    let (id, state) = (job["id"]?.string ?? "", job["state"]?.string ?? "")
    guard !wait || state == "COMPLETED" else {
      throw PlatformError(
        .failedPrecondition, "job \(id) \(state): \(job["error"]?.string ?? "")")
    }
    if !options.json { print("job \(id) \(state): \(job["progress"]?.string ?? "")") }
  }
}
