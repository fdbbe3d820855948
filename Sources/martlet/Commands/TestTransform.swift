import ArgumentParser
import AsyncHTTPClient
import Core
import Foundation
import NIOCore
import Server

struct TestTransform: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "test-transform",
    abstract: "Run a source's transform on a sample; nothing is stored.",
    discussion: """
      The sample is the beginning of a file, or without one the newest stored events.
      Ends with status 1 where the function raised for a record, or returned a column that the source
      does not declare so.

      EXAMPLE
        martlet test-transform orders orders.csv --rows 500
      """)

  @OptionGroup var options: CommonOptions
  @Argument(help: "The source.") var source: String
  @Argument(help: "A CSV, Parquet or JSON-lines file.") var file: String?
  @Option(help: "Records of the sample.") var rows = 100
  @Option(help: "csv, parquet or jsonl, where the name does not say it.") var format: String?

  func run() async throws {
    var path = "/api/v1/sources/\(source.urlEscaped)/test-transform?rows=\(rows)"
    if let file {
      guard FileManager.default.isReadableFile(atPath: file) else {
        throw PlatformError(.invalidArgument, "there is no readable file '\(file)'")
      }
      let name = (file as NSString).lastPathComponent
      path += "&name=\(name.urlEscaped)"
      if let format { path += "&format=\(format.urlEscaped)" }
    }
    let (target, sample) = (path, file)
    let answer = try await PlatformConnection.with(options) { connection in
      guard let sample else { return try await connection.post(target) }
      return try await connection.post(
        target, body: .stream(FileChunks(path: sample), length: .unknown))
    }
    if options.json { print(answer.text) } else { show(answer) }
    if answer["ok"] != .bool(true) { throw ExitCode(1) }
  }

  private func show(_ answer: JSON) {
    let failed = answer["failed"]?.int ?? 0
    let invalid = answer["invalid"]?.int ?? 0
    print(
      "\(answer["transform"]?.string ?? ""), code \((answer["digest"]?.string ?? "").prefix(12)): "
        + "\(answer["rows"]?.int ?? 0) records, \(failed) failed, \(invalid) not valid before it")
    showTable("before", answer["before"])
    showTable("after", answer["after"])
    showColumns(answer["columns"]?.array ?? [])
    let times = (answer["batches"]?.array ?? []).map { batch in
      "\(batch["rows"]?.int ?? 0) in \(batch["milliseconds"]?.number ?? 0) ms"
    }
    if !times.isEmpty { print("\nbatches: \(times.joined(separator: ", "))") }
    for record in (answer["invalid_records"]?.array ?? []).prefix(5) {
      print("\nnot valid: \(record["position"]?.string ?? ""): \(record["reason"]?.string ?? "")")
    }
    for failure in (answer["failures"]?.array ?? []).prefix(10) {
      print("\n\(failure["position"]?.string ?? ""): \(failure["error"]?.string ?? "")")
      print("  \(failure["record"]?.string ?? "")")
      print(failure["traceback"]?.string ?? "")
    }
  }

  private func showTable(_ title: String, _ table: JSON?) {
    let names = (table?["columns"]?.array ?? []).compactMap(\.string)
    let rows = (table?["rows"]?.array ?? []).map { row in
      (row.array ?? []).map { $0.string ?? ($0 == .null ? "" : $0.text) }
    }
    if !names.isEmpty { print("\n\(title)\n\(Terminal.table(names, rows))") }
  }

  private func showColumns(_ columns: [JSON]) {
    let rows = columns.map { column in
      [
        column["name"]?.string ?? "", column["returned"]?.string ?? "",
        column["declared"]?.string ?? "", column["problem"]?.string ?? "ok",
      ]
    }
    if !rows.isEmpty {
      print("\n" + Terminal.table(["column", "returned", "declared", "check"], rows))
    }
  }
}
