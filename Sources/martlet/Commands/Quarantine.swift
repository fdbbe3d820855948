import ArgumentParser
import Core
import Foundation
import Server

struct QuarantineCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quarantine", abstract: "Records that failed validation: look, correct, replay.",
    discussion: "EXAMPLE\n  martlet quarantine list --source events",
    subcommands: [List.self, Show.self, Replay.self, Discard.self, Export.self],
    defaultSubcommand: List.self)

  /// Which records are meant.
  struct Choice: ParsableArguments {
    @Option(help: "Only of this source.") var source: String?
    @Option(help: "Only with this text in the reason, or of this kind.") var reason: String?
    @Option(help: "Only since a time, or within a length such as 24h.") var since: String?

    var members: [JSON.Member] {
      [("source", source), ("reason", reason), ("since", since)].compactMap { name, value in
        value.map { JSON.Member(name, .string($0)) }
      }
    }

    var query: String {
      [("source", source), ("reason", reason), ("since", since)].compactMap { name, value in
        value.map { "&\(name)=\($0.urlEscaped)" }
      }.joined()
    }
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List the newest ones.",
      discussion: "EXAMPLE\n  martlet quarantine list --source events --since 24h")
    @OptionGroup var options: CommonOptions
    @OptionGroup var choice: Choice
    @Option(help: "waiting (default), replayed, discarded or all.") var status = "waiting"
    @Option(help: "At most so many.") var limit = 20

    func run() async throws {
      let query = "limit=\(limit)&status=\(status.urlEscaped)\(choice.query)"
      let answer = try await PlatformConnection.with(options) {
        try await $0.get("/api/v1/quarantine?\(query)")
      }
      if options.json { return print(answer.text) }
      let heading = ["id", "source", "status", "quarantined at", "position", "reason"]
      let rows = (answer["records"]?.array ?? []).map { record in
        ["id", "source", "status", "quarantined_at", "position", "reason"].map {
          record[$0]?.string ?? record[$0]?.text ?? ""
        }
      }
      print(rows.isEmpty ? "quarantine is empty" : Terminal.table(heading, rows))
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show one with its text.", discussion: "EXAMPLE\n  martlet quarantine show 7")
    @OptionGroup var options: CommonOptions
    @Argument(help: "Its id.") var id: Int

    func run() async throws {
      let answer = try await PlatformConnection.with(options) {
        try await $0.get("/api/v1/quarantine/\(id)")
      }
      if options.json { return print(answer.text) }
      for key in ["source", "status", "position", "quarantined_at", "event_id", "kind", "reason"] {
        print("\(key): \(answer[key]?.string ?? "")")
      }
      if let raw = answer["raw_base64"]?.string { print("raw_base64: \(raw)") }
      print("record: \(answer["record"]?.string ?? "")")
    }
  }

  struct Replay: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Correct records and ingest them again.",
      discussion: """
        A record keeps its event id, so nothing counts twice. One that fails again stays, with the new reason.

        EXAMPLE
          martlet quarantine replay 7 --set amount=12.5
          martlet quarantine replay --source events --reason 'no zone' --set at=2026-01-31T12:00:00Z
          martlet quarantine export --source events > bad.jsonl    (correct each line's "record")
          martlet quarantine replay --file bad.jsonl
        """)
    private static let batch = 500

    @OptionGroup var options: CommonOptions
    @OptionGroup var choice: Choice
    @Argument(help: "Ids.") var ids: [Int] = []
    @Option(help: "A file with the whole record that takes the place of the one record named.")
    var edit: String?
    @Option(help: "A field to set in every record, as name=value; may be repeated.")
    var set: [String] = []
    @Option(help: "An export whose records were corrected.") var file: String?

    func run() async throws {
      let bodies = try file.map(exported) ?? [try body()]
      let report = try await PlatformConnection.with(options) { platform in
        var replayed: Int64 = 0
        var duplicates: Int64 = 0
        var failures: [JSON] = []
        var failed: Int64 = 0
        for body in bodies {
          let answer = try await platform.post("/api/v1/quarantine/replay", body)
          replayed += answer["replayed"]?.int ?? 0
          duplicates += answer["duplicates"]?.int ?? 0
          failed += answer["failed"]?.int ?? 0
          failures += answer["failures"]?.array ?? []
        }
        return JSON.object([
          "replayed": .int(replayed), "duplicates": .int(duplicates), "failed": .int(failed),
          "failures": .array(failures),
        ])
      }
      if options.json {
        print(report.text)
      } else {
        let count = { (key: String) in Terminal.grouped(report[key]?.int ?? 0) }
        print(
          "\(count("replayed")) replayed (\(count("duplicates")) known already), \(count("failed")) failed again"
        )
        for failure in (report["failures"]?.array ?? []).prefix(10) {
          print("  \(failure["id"]?.text ?? ""): \(failure["reason"]?.string ?? "")")
        }
      }
      if report["failed"]?.int ?? 0 > 0 { throw ExitCode(1) }
    }

    private func body() throws -> JSON {
      var members = choice.members
      if !ids.isEmpty { members.append(.init("ids", .array(ids.map { .int(Int64($0)) }))) }
      if let edit {
        guard ids.count == 1 else {
          throw ValidationError("--edit needs exactly one id: the record whose text it is")
        }
        let record = JSON.object([
          "id": .int(Int64(ids[0])), "record": .string(try Self.text(edit)),
        ])
        members.append(.init("records", .array([record])))
      }
      if !set.isEmpty { members.append(.init("set", .object(try set.map(Self.field)))) }
      return .object(members)
    }

    private static func field(_ text: String) throws -> JSON.Member {
      guard let sign = text.firstIndex(of: "="), sign > text.startIndex else {
        throw ValidationError("--set is '\(text)'; write it as name=value")
      }
      return JSON.Member(
        String(text[..<sign]), .string(String(text[text.index(after: sign)...])))
    }

    private static func text(_ path: String) throws -> String {
      guard let bytes = FileManager.default.contents(atPath: path) else {
        throw PlatformError(.notFound, "there is no readable file \(path)")
      }
      return String(decoding: bytes, as: UTF8.self)
    }

    /// The records of an export, some hundred a call.
    private func exported(_ path: String) throws -> [JSON] {
      var records: [JSON] = []
      for (number, line) in try Self.text(path).split(separator: "\n").enumerated() {
        let entry = try? JSON(parsing: Array(line.utf8))
        guard let id = entry?["id"], id.int != nil, let record = entry?["record"] else {
          throw PlatformError(
            .invalidArgument,
            "\(path), line \(number + 1): not a line of an export; it needs 'id' and 'record'")
        }
        records.append(.object(["id": id, "record": record]))
      }
      let fields = try set.map(Self.field)
      return stride(from: 0, to: records.count, by: Self.batch).map { start in
        let some = records[start..<min(start + Self.batch, records.count)]
        return .object(["records": .array(Array(some)), "set": .object(fields)])
      }
    }
  }

  struct Discard: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Give waiting records up.",
      discussion:
        "EXAMPLE\n  martlet quarantine discard 7 8\n  martlet quarantine discard --source events")
    @OptionGroup var options: CommonOptions
    @OptionGroup var choice: Choice
    @Argument(help: "Ids.") var ids: [Int] = []

    func run() async throws {
      var members = choice.members
      if !ids.isEmpty { members.append(.init("ids", .array(ids.map { .int(Int64($0)) }))) }
      let body = JSON.object(members)
      let answer = try await PlatformConnection.with(options) {
        try await $0.post("/api/v1/quarantine/discard", body)
      }
      print(options.json ? answer.text : "\(answer["discarded"]?.int ?? 0) discarded")
    }
  }

  struct Export: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write records as JSON lines, to be corrected and replayed.",
      discussion: "EXAMPLE\n  martlet quarantine export --source events > bad.jsonl")
    @OptionGroup var options: CommonOptions
    @OptionGroup var choice: Choice
    @Option(help: "waiting (default), replayed, discarded or all.") var status = "waiting"

    func run() async throws {
      let query = "status=\(status.urlEscaped)\(choice.query)"
      _ = try await PlatformConnection.with(options) { platform in
        try await platform.download("/api/v1/quarantine/export?\(query)") { piece in
          try FileHandle.standardOutput.write(contentsOf: Data(piece.readableBytesView))
        }
      }
    }
  }
}
