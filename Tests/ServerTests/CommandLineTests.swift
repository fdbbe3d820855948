import Core
import Foundation
import TestKit
import Testing

extension WholeProgram {
  /// The command line, beside a platform and without one.
  @Suite struct CommandLineTests {
    static let commands: [[String]] = [
      [], ["init"], ["plan"], ["apply"], ["up"], ["status"], ["doctor"], ["config"],
      ["config", "show"], ["ingest"], ["push"], ["quarantine"], ["quarantine", "list"],
      ["quarantine", "show"], ["quarantine", "replay"], ["quarantine", "discard"],
      ["quarantine", "export"], ["erase"], ["features"], ["features", "list"], ["features", "get"],
      ["features", "history"], ["sql"], ["simulate"], ["train"], ["models"], ["models", "list"],
      ["models", "show"], ["models", "promote"], ["models", "archive"], ["predict"], ["drift"],
      ["jobs"],
      ["jobs", "list"],
      ["jobs", "show"], ["jobs", "cancel"], ["jobs", "retry"],
    ]

    /// A command without a platform, in a folder of its own.
    private static func run(
      _ arguments: [String], in folder: TemporaryFolder, input: String = ""
    ) async throws -> ProgramResult {
      let inherited = ProcessInfo.processInfo.environment.filter {
        ["PATH", "HOME"].contains($0.key)
      }
      return try await ChildProgram.run(
        PlatformProcess.executable, arguments,
        environment: inherited.merging(["MARTLET_WORKERS_PYTHON": PlatformProcess.python]) { $1 },
        directory: folder.path, input: input)
    }

    @Test("--help of a command says what it does and shows an example", arguments: commands)
    func help(command: [String]) async throws {
      let folder = try TemporaryFolder()
      defer { folder.remove() }
      let result = try await Self.run(command + ["--help"], in: folder)
      #expect(result.status == 0, "\(result)")
      #expect(result.output.contains("OVERVIEW:"), "\(result)")
      #expect(result.output.contains("EXAMPLE"), "\(result)")
      let line = (["martlet"] + command).joined(separator: " ")
      #expect(result.output.contains(line), "the example is of \(line)")
    }

    static let usageErrors: [[String]] = [
      ["nonsense"], ["train"], ["ingest", "events"], ["sql"], ["status", "--nonsense"],
      ["models", "show", "churn", "one"], ["simulate", "--bad", "7"], ["jobs", "show"],
      ["quarantine", "list", "--limit", "many"],
    ]

    @Test("what a command finds wrong itself comes with the usage of that command")
    func ownUsage() async throws {
      let folder = try TemporaryFolder()
      defer { folder.remove() }
      let result = try await Self.run(["erase", "carrier", "UA"], in: folder)
      #expect(result.status == 2, "\(result)")
      #expect(result.errors.contains("say --yes to do it"), "\(result)")
      #expect(result.errors.contains("martlet erase") && result.errors.contains("<entity>"))
    }

    @Test("a usage error ends with status 2 and says what is wrong", arguments: usageErrors)
    func usage(arguments: [String]) async throws {
      let folder = try TemporaryFolder()
      defer { folder.remove() }
      let result = try await Self.run(arguments, in: folder)
      #expect(result.status == 2, "\(result)")
      #expect(!result.errors.isEmpty && result.output.isEmpty, "\(result)")
      #expect(!FileManager.default.fileExists(atPath: "\(folder.path)/martlet-data"))
    }

    static let failures: [(arguments: [String], says: String)] = [
      (["apply"], "martlet init"),
      (["train", "churn"], "churn"),
      (["predict", "churn", "customer_id=1"], "churn"),
      (["ingest", "events", "nowhere.csv"], "nowhere.csv"),
      (["jobs", "show", "nothing"], "nothing"),
    ]

    @Test("a failure ends with status 1 and says what to do", arguments: failures)
    func failure(arguments: [String], says: String) async throws {
      let folder = try TemporaryFolder()
      defer { folder.remove() }
      let result = try await Self.run(arguments, in: folder)
      #expect(result.status == 1, "\(result)")
      #expect(result.errors.hasPrefix("martlet: "), "\(result)")
      #expect(result.errors.contains(says), "\(result)")
    }

    @Test("a first project works from init to online features with no platform running")
    func embedded() async throws {
      let folder = try TemporaryFolder()
      defer { folder.remove() }
      for arguments in [["init"], ["plan"], ["apply"]] {
        let result = try await Self.run(arguments, in: folder)
        #expect(result.status == 0, "\(arguments): \(result)")
      }
      let pushed = try await Self.run(
        ["push", "orders", "--json"], in: folder,
        input: """
          {"order_id": "a", "customer_id": 42, "amount": 12.5, "ordered_at": "2026-01-31T12:00:00Z"}
          {"order_id": "b", "customer_id": 42, "amount": -1, "ordered_at": "2026-01-31T12:00:00Z"}

          """)
      let receipt = try JSON(parsing: Array(pushed.output.utf8))
      #expect(receipt["accepted"]?.int == 1, "\(pushed)")
      #expect(receipt["quarantined"]?.int == 1, "\(pushed)")
      let count = try await Self.run(
        ["sql", "SELECT count(*) AS n FROM events_orders", "--json"], in: folder)
      #expect(
        try JSON(parsing: Array(count.output.utf8))["rows"] == .array([.array([.int(1)])]),
        "\(count)")
      let got = try await Self.run(
        ["features", "get", "customer_orders.orders_30d", "customer_id=42", "--json"], in: folder)
      #expect(got.status == 0, "\(got)")
      #expect(!FileManager.default.fileExists(atPath: "\(folder.path)/martlet-data/martlet.json"))
    }

    static let jsonCommands: [[String]] = [
      ["plan"], ["apply"], ["status"], ["doctor"], ["config", "show"], ["quarantine", "list"],
      ["features", "list"], ["features", "get", "activity.events_7d", "customer_id=5"],
      ["sql", "SELECT 1 AS one"], ["models", "list"], ["models", "show", "churn", "1"],
      ["models", "promote", "churn", "1"], ["predict", "churn", "customer_id=5"],
      ["drift", "churn"], ["jobs", "list"], ["train", "churn"],
      ["simulate", "--days", "1", "--customers", "5"],
    ]

    @Test("--json of every command is JSON, and the same command without it is text")
    func json() async throws {
      try await ShopProject.with(models: [ShopProject.model("churn", "constant")]) { platform in
        try await ShopProject.feed(platform.rest)
        _ = try await platform.rest.train("churn")
        try await platform.rest.promote("churn", 1)
        for command in Self.jsonCommands {
          for flags in [["--json"], []] {
            let result = try await ChildProgram.run(
              PlatformProcess.executable, command + flags, environment: platform.environment,
              directory: platform.folder.path)
            #expect(result.status == 0, "\(command): \(result)")
            let json = try? JSON(parsing: Array(result.output.utf8))
            if flags.isEmpty {
              #expect(!result.output.isEmpty, "\(command)")
            } else {
              #expect(json != nil, "\(command): \(result.output.prefix(300))")
            }
          }
        }
      }
    }

    @Test("ingest and features history work on files, as text and as JSON")
    func files() async throws {
      try await ShopProject.with { platform in
        try platform.folder.write(
          "event_id,customer_id,kind,amount,at\na,1,buy,10,2026-02-28T10:00:00Z\nb,x,buy,1,2026-02-28T10:00:00Z\n",
          to: "day.csv")
        let text = try await platform.martlet("ingest", "events", "day.csv")
        #expect(text.status == 0, "\(text)")
        #expect(
          text.output.contains("2 rows, 1 stored") && text.output.contains("1 in quarantine"),
          "\(text)")
        let again = try await platform.martlet("ingest", "events", "day.csv", "--json")
        #expect(
          try JSON(parsing: Array(again.output.utf8))["already_ingested"]?.bool == true, "\(again)")
        let strict = try await platform.martlet("ingest", "events", "day.csv", "--strict")
        #expect(strict.status == 0, "the same content needs nothing done: \(strict)")
        let listed = try await platform.martlet("quarantine", "list")
        #expect(listed.output.contains("customer_id"), "\(listed)")
      }
    }

    @Test("digits are the text of a key that is text")
    func textKeys() async throws {
      let yaml = """
        project: p
        entities: {user: {key: [uid]}}
        sources: {clicks: {event_time: at, columns: {uid: string}}}
        views: {w: {entity: user, source: clicks, features: {n: {count: "*", window: 400d}}}}

        """
      try await PlatformProcess.with(files: ["martlet.yaml": yaml], environment: [:]) { platform in
        _ = try await platform.rest.apply(yaml)
        _ = try await platform.rest.push("clicks", #"{"uid": "1", "at": "2026-01-01T00:00:00Z"}"#)
        let got = try await platform.martlet("features", "get", "w.n", "uid=1", "--json")
        #expect(got.status == 0 && got.output.contains("[1]"), "\(got)")
      }
    }

    @Test("features history writes the file it names, and none where it fails")
    func history() async throws {
      try await ShopProject.with { platform in
        _ = try await platform.rest.push(
          "events", ShopProject.event("a", customer: 1, at: "2026-02-28T10:00:00Z"))
        try platform.folder.write(
          "customer_id,at\n1,2026-03-01T00:00:00Z\n,2026-03-01T00:00:00Z\n", to: "spine.csv")
        let result = try await platform.martlet(
          "features", "history", "--spine", "spine.csv", "--time", "at", "--features",
          "activity.last_kind,activity.events_7d", "--output", "set.csv")
        #expect(result.status == 0, "\(result)")
        #expect(result.output.contains("2 rows"), "\(result)")
        #expect(result.output.contains("1 of them without a key or a time"), "\(result)")
        #expect(
          platform.folder.text("set.csv").contains("buy,1"), "\(platform.folder.text("set.csv"))")
        let failed = try await platform.martlet(
          "features", "history", "--spine", "spine.csv", "--time", "at", "--features",
          "activity.events_8d", "--output", "other.csv")
        #expect(failed.status == 1, "\(failed)")
        #expect(!FileManager.default.fileExists(atPath: "\(platform.folder.path)/other.csv"))
      }
    }

    @Test("push reports what it did with each kind of line")
    func push() async throws {
      try await ShopProject.with { platform in
        let lines =
          ShopProject.event("a", customer: 1, at: "2026-02-28T10:00:00Z") + "\n"
          + #"{"event_id": "b", "customer_id": "x", "at": "2026-02-28T10:00:00Z"}"# + "\n"
        let result = try await platform.martlet("push", "events", input: lines)
        #expect(result.status == 0, "\(result)")
        #expect(result.output.contains("1 stored, 0 known already, 1 in quarantine"), "\(result)")
      }
    }

    @Test("a failing train command shows the user's own error and ends with status 1")
    func failingTraining() async throws {
      try await ShopProject.with(models: [ShopProject.model("churn", "failing")]) { platform in
        try await ShopProject.feed(platform.rest)
        let result = try await platform.martlet("train", "churn")
        #expect(result.status == 1, "\(result)")
        #expect(result.errors.contains("RuntimeError: the labels look wrong"), "\(result)")
      }
    }
  }
}
