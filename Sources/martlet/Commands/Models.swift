import ArgumentParser
import Core
import Foundation
import Server

struct TrainCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train a model and register the version.",
    discussion: "EXAMPLE\n  martlet train churn --as-of 2026-03-01T00:00:00Z")

  @OptionGroup var options: CommonOptions
  @Argument(help: "The model.") var model: String
  @Option(help: "Use only what had happened by then (default: now).") var asOf: String?
  @Flag(help: "Promote it if it is no worse than production on the same evaluation slice.")
  var promote = false

  func run() async throws {
    var body: [JSON.Member] = [.init("promote", .bool(promote))]
    if let asOf { body.append(.init("as_of", .string(try Timestamp(iso8601: asOf).description))) }
    let request = JSON.object(body)
    try await PlatformConnection.with(options) { platform in
      var job = try await platform.post("/api/v1/models/\(model.urlEscaped)/train", request)
      var shown = ""
      while let state = job["state"]?.string, state == "PENDING" || state == "RUNNING" {
        if let progress = job["progress"]?.string, progress != shown, !options.json {
          shown = progress
          FileHandle.standardError.write(Data("\(progress) …\n".utf8))
        }
        job = try await platform.get(
          "/api/v1/jobs/\((job["id"]?.string ?? "").urlEscaped)?wait=true&seen=\(shown.urlEscaped)")
      }
      if options.json { print(job.text) }
      guard job["state"]?.string == "COMPLETED" else {
        throw PlatformError(
          .userCode,
          "job \(job["id"]?.string ?? "") \(job["state"]?.string ?? ""): \(job["error"]?.string ?? "")"
        )
      }
      if options.json { return }
      let version = try await platform.get(
        "/api/v1/models/\(model.urlEscaped)/versions/\(job["version"]?.text ?? "")")
      print(VersionText.line(version))
      if version["stage"]?.string == "registered" {
        print("next: martlet models promote \(model) \(version["version"]?.text ?? "")")
      }
    }
  }
}

/// How a version looks in one line.
enum VersionText {
  static func line(_ version: JSON) -> String {
    "\(version["model"]?.string ?? "") version \(version["version"]?.text ?? "") (\(version["stage"]?.string ?? "")): "
      + "\(metrics(version)), \(version["training_rows"]?.text ?? "?") rows"
  }

  static func metrics(_ version: JSON) -> String {
    guard case .object(let members)? = version["metrics"] else { return "" }
    return members.map { "\($0.key) \(Terminal.rounded($0.value.number ?? .nan))" }
      .joined(separator: ", ")
  }
}

struct ModelsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "models", abstract: "Models, versions and their stages.",
    discussion: "EXAMPLE\n  martlet models promote churn 2 --why \"better AUC\"",
    subcommands: [
      List.self, Show.self, Promote.self, Canary.self, Shadow.self, Rollback.self, Rollout.self,
      Archive.self, Latency.self,
      Stage.self, Alias.self, Tag.self,
      History.self, Registered.self, Sign.self,
    ], defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List models and versions.", discussion: "EXAMPLE\n  martlet models list")
    @OptionGroup var options: CommonOptions

    func run() async throws {
      let answer = try await PlatformConnection.with(options) { try await $0.get("/api/v1/models") }
      if options.json { return print(answer.text) }
      var rows: [[String]] = []
      for model in answer["models"]?.array ?? [] {
        let versions = model["versions"]?.array ?? []
        if versions.isEmpty {
          rows.append([model["name"]?.string ?? "", "", "not trained", "", "", ""])
        }
        for version in versions {
          rows.append([
            model["name"]?.string ?? "", version["version"]?.text ?? "",
            version["stage"]?.string ?? "", Self.serving(version, of: model),
            VersionText.metrics(version),
            version["created_at"]?.string ?? "",
          ])
        }
      }
      print(
        rows.isEmpty
          ? "no models are defined"
          : Terminal.table(["model", "version", "stage", "serves", "metrics", "created"], rows))
    }

    private static func serving(_ version: JSON, of model: JSON) -> String {
      if model["serving"] == version["version"] { return "yes" }
      guard version["stage"]?.string == "production" else { return "" }
      return model["load_error"]?.string == nil ? "loading" : "cannot be loaded"
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show a version in full.", discussion: "EXAMPLE\n  martlet models show churn 2")
    @OptionGroup var options: CommonOptions
    @Argument(help: "The model.") var model: String
    @Argument(help: "The version.") var version: Int

    func run() async throws {
      let answer = try await PlatformConnection.with(options) {
        try await $0.get("/api/v1/models/\(model.urlEscaped)/versions/\(version)")
      }
      if options.json { return print(answer.text) }
      guard case .object(let members) = answer else { return }
      for member in members { print("\(member.key): \(member.value.string ?? member.value.text)") }
    }
  }

  struct Promote: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a version production.",
      discussion: "EXAMPLE\n  martlet models promote churn 2")
    @OptionGroup var options: CommonOptions
    @Argument(help: "The model.") var model: String
    @Argument(help: "The version.") var version: Int
    @Option(help: "Kept with the transition.") var why = "by hand"

    func run() async throws {
      try await move(
        .init(options: options, model: model, version: version, why: why, to: "promote"))
    }
  }

  struct Archive: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Take a version out of use; it is kept and can be promoted again.",
      discussion: "EXAMPLE\n  martlet models archive churn 1 --why \"reads a feature that goes\"")
    @OptionGroup var options: CommonOptions
    @Argument(help: "The model.") var model: String
    @Argument(help: "The version, which is not in production.") var version: Int
    @Option(help: "Kept with the transition.") var why = "by hand"

    func run() async throws {
      try await move(
        .init(options: options, model: model, version: version, why: why, to: "archive"))
    }
  }

  struct Sign: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Sign versions as the registry has them, with the key of the platform.",
      discussion: "EXAMPLE\n  martlet models sign churn\n  martlet models sign churn 2")
    @OptionGroup var options: CommonOptions
    @Argument(help: "The model.") var model: String
    @Argument(help: "The version; all of the model's without it.") var version: Int?
    @Option(help: "Kept with the audit.") var why = "by hand"

    func run() async throws {
      var numbers = version.map { [$0] } ?? []
      if version == nil {
        let answer = try await PlatformConnection.with(options) {
          try await $0.get("/api/v1/models/\(model.urlEscaped)")
        }
        numbers = (answer["versions"]?.array ?? []).compactMap { $0["version"]?.int.map(Int.init) }
      }
      for number in numbers.sorted() {
        try await move(
          .init(options: options, model: model, version: number, why: why, to: "sign"))
      }
    }
  }

  struct Transition: Sendable {
    var options: CommonOptions
    var model: String
    var version: Int
    var why: String
    var to: String
    /// Beside who and why.
    var more: [JSON.Member] = []
  }

  /// Moves a version to another stage and prints it.
  static func move(_ call: Transition) async throws {
    let body = JSON.object(
      [.init("who", .string(user)), .init("why", .string(call.why))] + call.more)
    let (answer, note) = try await PlatformConnection.with(call.options) { platform in
      let answer = try await platform.post(
        "/api/v1/models/\(call.model.urlEscaped)/versions/\(call.version)/\(call.to)", body)
      guard call.to == "promote" else { return (answer, nil as String?) }
      return (answer, try await serving(call, platform))
    }
    print(call.options.json ? answer.text : VersionText.line(answer))
    if let note { Terminal.complain(note) }
  }

  /// Waits a while for the promoted version to serve; what stands in its way, nil where nothing does.
  private static func serving(
    _ call: Transition, _ platform: PlatformConnection
  ) async throws -> String? {
    for _ in 0..<40 {
      let model = try await platform.get("/api/v1/models/\(call.model.urlEscaped)")
      if model["serving"]?.int == Int64(call.version) { return nil }
      let now = model["serving"]?.int.map { "version \($0) goes on serving" } ?? "none serves"
      if let error = model["load_error"]?.string {
        return "it cannot be loaded and is tried again; meanwhile \(now): \(error)"
      }
      try await Task.sleep(for: .milliseconds(250))
    }
    return "it is still being loaded; `martlet models list` tells when it serves"
  }
}

struct PredictCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "predict", abstract: "Predict by entity key.",
    discussion: "EXAMPLE\n  martlet predict churn customer_id=42")

  @OptionGroup var options: CommonOptions
  @Argument(help: "The model.") var model: String
  @Argument(help: "Key columns and inputs, as name=value.") var values: [String] = []

  func run() async throws {
    let answer = try await PlatformConnection.with(options) { platform in
      let types = try await platform.keyTypes()
      let row = try JSON.object(values.map { try Self.member($0, types) })
      return try await platform.post(
        "/api/v1/models/\(model.urlEscaped)/predict", .object(["rows": .array([row])]))
    }
    if options.json { return print(answer.text) }
    guard let prediction = answer["predictions"]?.array?.first else { return print(answer.text) }
    print(
      "\(prediction["value"]?.text ?? "null")  \(model) version \(answer["version"]?.text ?? "") (\(answer["route"]?.string ?? ""))"
    )
    guard case .object(let features)? = prediction["features"] else { return }
    print(
      Terminal.table(
        ["feature", "value", "status", "event time"],
        features.map { feature in
          [
            feature.key,
            feature.value["value"].map { $0 == .null ? "" : $0.string ?? $0.text } ?? "",
            feature.value["status"]?.string ?? "", feature.value["event_timestamp"]?.string ?? "",
          ]
        }))
  }

  /// Numbers, true, false, null and arrays of them as such, anything else as text; what is a text by its `types` or stands in quotes
  /// stays one.
  static func member(_ text: String, _ types: [String: String]) throws -> JSON.Member {
    guard let split = text.firstIndex(of: "="), split != text.startIndex else {
      throw PlatformError(.invalidArgument, "'\(text)' is not name=value, as in customer_id=42")
    }
    let value = String(text[text.index(after: split)...])
    let name = String(text[..<split])
    let parsed = try? JSON(parsing: Array(value.utf8))
    var typed = parsed.flatMap { $0.value == nil ? nil : $0 }
    if types[name] == "string", typed?.string == nil { typed = nil }
    return JSON.Member(name, typed ?? .string(value))
  }
}

struct DriftCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drift", abstract: "Compare the last predictions with the training baseline.",
    discussion: "EXAMPLE\n  martlet drift churn --window 24h")

  @OptionGroup var options: CommonOptions
  @Argument(help: "The model.") var model: String
  @Option(help: "How far back (default: the definition's window).") var window: String?

  func run() async throws {
    let query = window.map { "?window=\($0.urlEscaped)" } ?? ""
    let answer = try await PlatformConnection.with(options) {
      try await $0.post("/api/v1/models/\(model.urlEscaped)/drift\(query)")
    }
    if options.json { return print(answer.text) }
    if answer["rows"]?.int == 0 {
      return print(
        "\(model) version \(answer["version"]?.text ?? "") made no predictions in the window: there is nothing to compare"
      )
    }
    print(
      "\(model) version \(answer["version"]?.text ?? ""): \(answer["rows"]?.text ?? "0") predictions, drift score "
        + Terminal.rounded(answer["score"]?.number ?? 0, 3))
    let rows = (answer["features"]?.array ?? []).map { feature in
      [
        feature["feature"]?.string ?? "", Terminal.rounded(feature["psi"]?.number ?? 0, 3),
        feature["ks"]?.number.map { Terminal.rounded($0, 3) } ?? "",
        Terminal.rounded(feature["null_share"]?.number ?? 0, 3),
        Terminal.rounded(feature["baseline_null_share"]?.number ?? 0, 3),
      ]
    }
    if !rows.isEmpty {
      print(Terminal.table(["feature", "psi", "ks", "nulls", "baseline nulls"], rows))
    }
  }
}

struct JobsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "jobs", abstract: "Trainings and backfills.",
    discussion: "EXAMPLE\n  martlet jobs list",
    subcommands: [List.self, Show.self, Logs.self, Cancel.self, Retry.self],
    defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List the newest jobs.", discussion: "EXAMPLE\n  martlet jobs list --limit 5")
    @OptionGroup var options: CommonOptions
    @Option(help: "At most so many.") var limit = 20

    func run() async throws {
      let answer = try await PlatformConnection.with(options) {
        try await $0.get("/api/v1/jobs?limit=\(limit)")
      }
      if options.json { return print(answer.text) }
      let rows = (answer["jobs"]?.array ?? []).map { job in
        [
          job["id"]?.string ?? "", job["state"]?.string ?? "", job["attempt"]?.text ?? "",
          job["reason"]?.string ?? "", job["error"]?.string ?? job["progress"]?.string ?? "",
        ]
      }
      print(
        rows.isEmpty
          ? "no jobs" : Terminal.table(["job", "state", "attempt", "reason", "what"], rows))
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show one job.", discussion: "EXAMPLE\n  martlet jobs show train-churn-1a2b3c4d")
    @OptionGroup var options: CommonOptions
    @Argument(help: "Its id.") var id: String
    func run() async throws { try await show(.init(options: options, id: id, verb: nil)) }
  }

  struct Logs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show what the code of a job printed and logged.",
      discussion: """
        The newest lines are kept. Lines of an attempt appear within about a second.

        EXAMPLE
          martlet jobs logs train-churn-1a2b3c4d --limit 50
        """)
    @OptionGroup var options: CommonOptions
    @Argument(help: "Its id.") var id: String
    @Option(help: "At most so many, the newest.") var limit = 1_000

    func run() async throws {
      let answer = try await PlatformConnection.with(options) {
        try await $0.get("/api/v1/jobs/\(id.urlEscaped)/logs?limit=\(limit)")
      }
      if options.json { return print(answer.text) }
      for line in answer["lines"]?.array ?? [] {
        print(
          "\(line["time"]?.string ?? "") \(line["attempt"]?.text ?? "") "
            + "\(line["level"]?.string ?? "") \(line["logger"]?.string ?? ""): "
            + (line["message"]?.string ?? ""))
      }
    }
  }

  struct Cancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Cancel a pending or running job.",
      discussion: "EXAMPLE\n  martlet jobs cancel train-churn-1a2b3c4d")
    @OptionGroup var options: CommonOptions
    @Argument(help: "Its id.") var id: String
    func run() async throws { try await show(.init(options: options, id: id, verb: "cancel")) }
  }

  struct Retry: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Run a failed or cancelled job again.",
      discussion: "EXAMPLE\n  martlet jobs retry train-churn-1a2b3c4d")
    @OptionGroup var options: CommonOptions
    @Argument(help: "Its id.") var id: String
    func run() async throws { try await show(.init(options: options, id: id, verb: "retry")) }
  }

  struct Call: Sendable {
    var options: CommonOptions
    var id: String
    var verb: String?
  }

  /// Does what `verb` says to a job (nothing for nil) and prints the job.
  static func show(_ call: Call) async throws {
    let path = "/api/v1/jobs/\(call.id.urlEscaped)"
    let job = try await PlatformConnection.with(call.options) { platform in
      if let verb = call.verb { return try await platform.post("\(path)/\(verb)") }
      return try await platform.get(path)
    }
    if call.options.json { return print(job.text) }
    guard case .object(let members) = job else { return }
    for member in members { print("\(member.key): \(member.value.string ?? member.value.text)") }
  }
}
