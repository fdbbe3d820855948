import ArgumentParser
import AsyncHTTPClient
import Core
import Foundation
import NIOCore
import Server

struct FeaturesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "features", abstract: "Feature values, now and then.",
    discussion: "EXAMPLE\n  martlet features get customer_activity.orders_7d customer_id=42",
    subcommands: [
      List.self, Show.self, Sets.self, Get.self, History.self, Verify.self, Rebuild.self,
    ],
    defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List the features of every view.", discussion: "EXAMPLE\n  martlet features list")
    @OptionGroup var options: CommonOptions

    func run() async throws {
      let answer = try await PlatformConnection.with(options) {
        try await $0.get("/api/v1/features")
      }
      if options.json { return print(answer.text) }
      let rows = (answer["features"]?.array ?? []).map { feature in
        ["name", "type", "entity", "source", "what"].map { feature[$0]?.string ?? "" }
      }
      print(
        rows.isEmpty
          ? "no features are defined; write martlet.yaml and run `martlet apply`"
          : Terminal.table(["feature", "type", "entity", "source", "what"], rows))
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Read features of one entity key as of now.",
      discussion:
        "EXAMPLE\n  martlet features get carrier_delays.last_delay,carrier_delays.late_24h carrier=UA"
    )
    @OptionGroup var options: CommonOptions
    @Argument(help: "Features as view.feature, with commas between.") var features: String
    @Argument(help: "Key columns, as name=value; none for an entity without.") var keys: [String] =
      []

    func run() async throws {
      let names = features.split(separator: ",").map { JSON.string(String($0)) }
      let answer = try await PlatformConnection.with(options) { platform in
        let types = try await platform.keyTypes()
        let row = try JSON.object(keys.map { try PredictCommand.member($0, types) })
        return try await platform.post(
          "/api/v1/features/online",
          JSON.object(["features": .array(names), "entities": .array([row])]))
      }
      if options.json { return print(answer.text) }
      guard let vector = answer["rows"]?.array?.first else { return print(answer.text) }
      func cells(_ key: String) -> [String] {
        (vector[key]?.array ?? []).map { $0 == .null ? "" : $0.string ?? $0.text }
      }
      let (values, statuses, times) = (
        cells("values"), cells("statuses"), cells("event_timestamps")
      )
      let rows = names.indices.map {
        [names[$0].string ?? "", values[$0], statuses[$0], times[$0]]
      }
      print(Terminal.table(["feature", "value", "status", "event time"], rows))
    }
  }

  struct History: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Join features to a spine of entity keys and times (CSV or Parquet).",
      discussion: """
        EXAMPLE
          martlet features history --spine spine.csv --time at --features v.orders_7d,v.spend_30d --output set.parquet
          martlet features history --spine-sql "SELECT customer_id, asked_at AS at FROM events_outcomes" --time at \\
            --features v.orders_7d --output set.parquet
        """)
    @OptionGroup var options: CommonOptions
    @OptionGroup var spine: SpineOptions
    @Option(help: "Features as view.feature, with commas between.") var features: String
    @Option(help: "File to write, .csv or .parquet.") var output: String

    func validate() throws { try spine.requireOne() }

    func run() async throws {
      guard let format = FileFormat(path: output), format != .jsonl else {
        throw PlatformError(.invalidArgument, "--output must end in .csv or .parquet")
      }
      let (more, bytes) = try spine.request()
      let query = "features=\(features.urlEscaped)&format=\(format.rawValue)&\(more)"
      let headers = try await PlatformConnection.with(options) { platform in
        var file: FileHandle?
        let headers = try await platform.download(
          "/api/v1/features/history?\(query)", body: .bytes(ByteBuffer(bytes: bytes))
        ) { piece in
          // Made with the first piece: a call that is refused leaves no file.
          if file == nil { file = try FeaturesCommand.created(output) }
          try file?.write(contentsOf: Data(piece.readableBytesView))
        }
        try file?.close()
        return headers
      }
      report { headers["martlet-" + $0].first.flatMap { Int64($0) } ?? 0 }
    }

    private func report(_ count: (String) -> Int64) {
      let (rows, incomplete) = (count("rows"), count("incomplete-rows"))
      if options.json {
        return print(
          JSON.object([
            "output": .string(output), "rows": .int(rows), "incomplete_rows": .int(incomplete),
            "events_read": .int(count("events-read")),
          ]).text)
      }
      let note = incomplete == 0 ? "" : "; \(incomplete) of them without a key or a time, so null"
      print("wrote \(output): \(rows) rows from \(count("events-read")) events\(note)")
    }
  }

  static func created(_ path: String) throws -> FileHandle {
    guard FileManager.default.createFile(atPath: path, contents: nil),
      let file = FileHandle(forWritingAtPath: path)
    else { throw PlatformError(.invalidArgument, "cannot write \(path)") }
    return file
  }
}

extension PlatformConnection {
  /// The types of all key columns by name, for what is typed as text: `uid=1` is text where uid is.
  func keyTypes() async throws -> [String: String] {
    var types: [String: String] = [:]
    for feature in try await get("/api/v1/features")["features"]?.array ?? [] {
      guard case .object(let key)? = feature["key"] else { continue }
      for column in key { types[column.key] = column.value.string }
    }
    return types
  }
}
