import ArgumentParser
import AsyncHTTPClient
import Core
import Foundation
import NIOCore
import Server

struct DatasetsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "datasets",
    abstract: "Saved training sets: what they are made of, and the same again.",
    discussion: "EXAMPLE\n  martlet datasets create may --model churn --as-of 2026-05-31T00:00:00Z",
    subcommands: [List.self, Show.self, Create.self, Export.self, Verify.self],
    defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List saved sets, the newest first.", discussion: "EXAMPLE\n  martlet datasets list"
    )
    @OptionGroup var options: CommonOptions
    @Option(help: "How many.") var limit = 50

    func run() async throws {
      let answer = try await PlatformConnection.with(options) {
        try await $0.get("/api/v1/datasets?limit=\(limit)")
      }
      if options.json { return print(answer.text) }
      let rows = (answer["datasets"]?.array ?? []).map { dataset in
        ["id", "name", "model", "rows", "created_at", "row_hash"].map { key in
          let text = dataset[key].map { $0.string ?? ($0 == .null ? "" : $0.text) } ?? ""
          return key == "row_hash" ? String(text.prefix(12)) : text
        }
      }
      print(
        rows.isEmpty
          ? "no datasets are saved; `martlet train` and `martlet datasets create` save some"
          : Terminal.table(["id", "name", "model", "rows", "created at", "row hash"], rows))
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show what a set was made of.", discussion: "EXAMPLE\n  martlet datasets show may")
    @OptionGroup var options: CommonOptions
    @Argument(help: "Its id, or its name: then the newest of it.") var name: String

    func run() async throws {
      let answer = try await PlatformConnection.with(options) {
        try await $0.get("/api/v1/datasets/\(name.urlEscaped)")
      }
      options.json ? print(answer.text) : DatasetsCommand.show(answer)
    }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Save a set: a model's training rows, or features joined to a spine.",
      discussion: """
        EXAMPLE
          martlet datasets create may --model churn --as-of 2026-05-31T00:00:00Z
          martlet datasets create may --spine spine.parquet --time at --features v.orders_7d,v.spend_30d
          martlet datasets create may --features v.orders_7d --time at \\
            --spine-sql "SELECT DISTINCT customer_id, TIMESTAMP '2026-05-31' AS at FROM events_orders"
        """)
    @OptionGroup var options: CommonOptions
    @Argument(help: "What to call it.") var name: String
    @Option(help: "The model whose training rows are saved.") var model: String?
    @OptionGroup var spine: SpineOptions
    @Option(help: "Features as view.feature, with commas between.") var features: String?
    @Option(
      help:
        "A model's as-of time; with a spine, nothing that was stored later counts (default: now).")
    var asOf: String?

    func validate() throws {
      if model == nil {
        guard features != nil else {
          throw ValidationError("say --model, or --features and --spine or --spine-sql")
        }
        try spine.requireOne()
      } else if features != nil || spine.isGiven {
        throw ValidationError("--model brings its own features and spine")
      }
    }

    func run() async throws {
      var query = "name=\(name.urlEscaped)"
      if let asOf { query += "&as_of=\(asOf.urlEscaped)" }
      var body: [UInt8] = []
      if let model {
        query += "&model=\(model.urlEscaped)"
      } else {
        let (more, bytes) = try spine.request()
        query += "&features=\((features ?? "").urlEscaped)&\(more)"
        body = bytes
      }
      let (path, bytes) = ("/api/v1/datasets?\(query)", body)
      let answer = try await PlatformConnection.with(options) {
        try await $0.post(path, body: .bytes(ByteBuffer(bytes: bytes)))
      }
      options.json ? print(answer.text) : DatasetsCommand.show(answer)
    }
  }

  struct Export: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write a set's rows to a file.",
      discussion: "EXAMPLE\n  martlet datasets export may --output may.parquet")
    @OptionGroup var options: CommonOptions
    @Argument(help: "Its id, or its name: then the newest of it.") var name: String
    @Option(help: "File to write, .csv or .parquet.") var output: String

    func run() async throws {
      guard let format = FileFormat(path: output), format != .jsonl else {
        throw PlatformError(.invalidArgument, "--output must end in .csv or .parquet")
      }
      try await PlatformConnection.with(options) { [name, output] platform in
        var file: FileHandle?
        try await platform.download(
          "/api/v1/datasets/\(name.urlEscaped)/file?format=\(format.rawValue)"
        ) { piece in
          if file == nil { file = try FeaturesCommand.created(output) }
          try file?.write(contentsOf: Data(piece.readableBytesView))
        }
        try file?.close()
      }
      print(options.json ? JSON.object(["output": .string(output)]).text : "wrote \(output)")
    }
  }

  struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Compute a set again and compare; the exit status is 1 where its rows differ.",
      discussion: "EXAMPLE\n  martlet datasets verify may")
    @OptionGroup var options: CommonOptions
    @Argument(help: "Its id, or its name: then the newest of it.") var name: String

    func run() async throws {
      let answer = try await PlatformConnection.with(options) {
        try await $0.post("/api/v1/datasets/\(name.urlEscaped)/verify")
      }
      let isReproduced = answer["reproduced"]?.bool == true
      if options.json {
        print(answer.text)
      } else {
        let file =
          answer["same_file"]?.bool == true ? "the same file, byte for byte" : "another file"
        print(
          isReproduced
            ? "reproduced: the same rows, \(file)"
            : "not reproduced: \(answer["note"]?.string ?? "")")
      }
      if !isReproduced { throw ExitCode(1) }
    }
  }

  fileprivate static func show(_ dataset: JSON) {
    guard case .object(let members) = dataset else { return }
    let width = members.map(\.key.count).max() ?? 0
    for member in members where member.value != .null {
      let text: String =
        switch member.value {
        case .string(let text): text
        case .array(let all): all.map { $0.string ?? $0.text }.joined(separator: ", ")
        case .object(let all): all.map { "\($0.key) \($0.value.text)" }.joined(separator: ", ")
        default: member.value.text
        }
      let label = member.key.replacing("_", with: " ")
      print(label + String(repeating: " ", count: width - member.key.count + 2) + text)
    }
  }
}

/// What brings the rows of a history read or of a saved set.
struct SpineOptions: ParsableArguments {
  @Option(help: "File with the key columns and a time column, .csv or .parquet.") var spine: String?
  @Option(help: "A query over the warehouse that gives key columns and a time column.")
  var spineSql: String?
  @Option(help: "The time column.") var time = "event_timestamp"
  @Option(help: "as_corrected or as_known.") var mode = HistoryMode.asCorrected.rawValue
  @Option(help: "The version of the definitions to read features by (default: the one in force).")
  var definitions: Int64?

  var isGiven: Bool { spine != nil || spineSql != nil }

  func requireOne() throws {
    guard (spine == nil) != (spineSql == nil) else {
      throw ValidationError("say --spine FILE or --spine-sql QUERY, one of them")
    }
  }

  /// The query of a request, and its body.
  func request() throws -> (query: String, body: [UInt8]) {
    var query = "time=\(time.urlEscaped)&mode=\(mode.urlEscaped)"
    if let definitions { query += "&definitions=\(definitions)" }
    if let spineSql { return (query + "&spine_format=sql", Array(spineSql.utf8)) }
    let path = spine ?? ""
    guard let format = FileFormat(path: path), format != .jsonl else {
      throw PlatformError(.invalidArgument, "--spine must end in .csv or .parquet")
    }
    guard let bytes = FileManager.default.contents(atPath: path) else {
      throw PlatformError(.notFound, "there is no readable file \(path)")
    }
    return (
      query + "&spine_format=\(format.rawValue)&spine_name=\(path.urlEscaped)", Array(bytes)
    )
  }
}
