import ArgumentParser
import AsyncHTTPClient
import Core
import Foundation
import NIOCore
import Server
import Synchronization

struct IngestCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ingest", abstract: "Feed files (CSV, Parquet, JSONL) to a source.",
    discussion: """
      A file is taken once by its content. Bad rows go to quarantine; with --strict they refuse the whole file.

      EXAMPLE
        martlet ingest arrivals flights.parquet --strict
      """)

  @OptionGroup var options: CommonOptions
  @Argument(help: "The source.") var source: String
  @Argument(help: "Files.") var files: [String]
  @Flag(help: "Take a file wholly or not at all.") var strict = false
  @Option(help: "csv, parquet or jsonl (default: by the name's ending).") var format: String?

  func run() async throws {
    try await PlatformConnection.with(options) { platform in
      for file in files { try await ingest(file, platform) }
    }
  }

  private func ingest(_ file: String, _ platform: PlatformConnection) async throws {
    guard let size = try? FileManager.default.attributesOfItem(atPath: file)[.size] as? NSNumber
    else {
      throw PlatformError(.notFound, "there is no readable file \(file)")
    }
    var query = "name=\(URL(fileURLWithPath: file).lastPathComponent.urlEscaped)&strict=\(strict)"
    if let format { query += "&format=\(format.urlEscaped)" }
    let bar = ProgressBox(ProgressLine(file))
    let body = HTTPClientRequest.Body.stream(
      FileChunks(path: file), length: .known(size.int64Value))
    let answer = try await platform.post(
      "/api/v1/sources/\(source.urlEscaped)/files?\(query)", body: body
    ) { line in
      bar.show(share: line["progress"]?.number, rows: line["rows"]?.int ?? 0)
    }
    bar.end()
    print(options.json ? answer.text : summary(of: answer, file: file))
  }

  private func summary(of answer: JSON, file: String) -> String {
    func count(_ key: String) -> String { Terminal.grouped(answer[key]?.int ?? 0) }
    if answer["already_ingested"]?.bool == true {
      return "\(file): this content was ingested before; nothing to do"
    }
    let seconds = answer["seconds"]?.number ?? 0
    let rate = seconds > 0 ? Int64(Double(answer["rows"]?.int ?? 0) / seconds) : 0
    var text =
      "\(file): \(count("rows")) rows, \(count("accepted")) stored, \(count("duplicates")) known already, "
      + "\(count("quarantined")) in quarantine"
      + ((answer["erased"]?.int ?? 0) > 0 ? ", \(count("erased")) of erased keys" : "")
      + ((answer["expired"]?.int ?? 0) > 0
        ? ", \(count("expired")) older than the source keeps events" : "")
      + " (\(Terminal.grouped(rate)) rows/s)"
    for (key, what) in [
      ("missing_columns", "the file has no column"),
      ("ignored_columns", "not of the source, so ignored:"),
    ] {
      let names = (answer[key]?.array ?? []).compactMap(\.string)
      if !names.isEmpty { text += "\n  warning: \(what) \(names.joined(separator: ", "))" }
    }
    for (key, mark) in [("reasons", ""), ("warnings", "warning: ")] {
      for reason in (answer[key]?.array ?? []).prefix(5) {
        text +=
          "\n  \(mark)\(reason["count"]?.int ?? 1) × \(reason["reason"]?.string ?? reason.text)"
      }
    }
    return text
  }
}

/// A progress line that a concurrent reader may move.
private final class ProgressBox: Sendable {
  private let line: Mutex<ProgressLine>

  init(_ line: ProgressLine) { self.line = Mutex(line) }

  func show(share: Double?, rows: Int64) { line.withLock { $0.show(share: share, rows: rows) } }
  func end() { line.withLock { $0.end() } }
}

/// The bytes of a file, a mebibyte at a time.
struct FileChunks: AsyncSequence, Sendable {
  let path: String

  struct Iterator: AsyncIteratorProtocol {
    var handle: FileHandle?

    mutating func next() async throws -> ByteBuffer? {
      guard let data = try handle?.read(upToCount: 1 << 20), !data.isEmpty else { return nil }
      return ByteBuffer(bytes: data)
    }
  }

  func makeAsyncIterator() -> Iterator { Iterator(handle: FileHandle(forReadingAtPath: path)) }
}

struct PushCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "push", abstract: "Push JSON lines from standard input to a source.",
    discussion: """
      EXAMPLE
        echo '{"customer_id": 7, "kind": "buy", "amount": 12.5, "at": "2026-01-31T12:00:00Z"}' | martlet push events
      """)

  @OptionGroup var options: CommonOptions
  @Argument(help: "The source.") var source: String
  @Option(help: "Lines sent together.") var batch = 1000
  @Option(
    help: "Of a source whose pushes are produced to Kafka: applied or produced (default: applied).")
  var wait: String?

  func run() async throws {
    try await PlatformConnection.with(options) { platform in
      var accepted: Int64 = 0
      var duplicates: Int64 = 0
      var quarantined: Int64 = 0
      var reasons: [String] = []
      var warnings: [String: Int64] = [:]
      var lines: [String] = []
      func send() async throws {
        let answer = try await platform.push(lines, to: source, wait: wait)
        accepted += answer["accepted"]?.int ?? 0
        duplicates += answer["duplicates"]?.int ?? 0
        quarantined += answer["quarantined"]?.int ?? 0
        reasons += (answer["reasons"]?.array ?? []).compactMap(\.string)
        for warning in answer["warnings"]?.array ?? [] {
          warnings[warning["reason"]?.string ?? "", default: 0] += warning["count"]?.int ?? 0
        }
        lines.removeAll()
      }
      while let line = readLine() {
        if !line.isEmpty { lines.append(line) }
        if lines.count >= batch { try await send() }
      }
      if !lines.isEmpty { try await send() }
      if options.json {
        print(
          JSON.object([
            "accepted": .int(accepted), "duplicates": .int(duplicates),
            "quarantined": .int(quarantined),
            "reasons": .array(reasons.prefix(100).map { .string($0) }),
            "warnings": .array(
              warnings.sorted { $0.key < $1.key }.map {
                .object(["reason": .string($0.key), "count": .int($0.value)])
              }),
          ]).text)
        return
      }
      print("\(accepted) stored, \(duplicates) known already, \(quarantined) in quarantine")
      for reason in reasons.prefix(5) { print("  \(reason)") }
      for (warning, count) in warnings.sorted(by: { $0.key < $1.key }) {
        print("  warning: \(count) × \(warning)")
      }
    }
  }
}

struct SQLCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sql", abstract: "Query the warehouse (read-only).",
    discussion: """
      EXAMPLES
        martlet sql "SELECT count(*) FROM events_arrivals"
        martlet sql "FROM events_arrivals" --output arrivals.parquet
      """)

  @OptionGroup var options: CommonOptions
  @Flag(
    help: "Ask through the database service: only Redis is reached, not the platform itself.")
  var viaRedis = false
  @Option(help: "File to write all rows to, however many, .csv or .parquet; else 10,000 are shown.")
  var output: String?
  @Argument(help: "One SELECT.") var query: String

  func validate() throws {
    if viaRedis, output != nil {
      throw ValidationError("--output takes the platform's own way, not --via-redis")
    }
  }

  func run() async throws {
    if viaRedis { return try await runByRedis() }
    if let output { return try await write(to: output) }
    let body = JSON.object(["sql": .string(query)])
    let answer = try await PlatformConnection.with(options) {
      try await $0.post("/api/v1/sql", body)
    }
    if options.json { return print(answer.text) }
    let columns = (answer["columns"]?.array ?? []).compactMap(\.string)
    let rows = (answer["rows"]?.array ?? []).map { row in
      (row.array ?? []).map { $0.string ?? ($0 == .null ? "" : $0.text) }
    }
    print(Terminal.table(columns, rows))
  }

  private func write(to output: String) async throws {
    guard let format = FileFormat(path: output), format != .jsonl else {
      throw PlatformError(.invalidArgument, "--output must end in .csv or .parquet")
    }
    let body = JSON.object(["sql": .string(query)]).utf8
    let rows = try await PlatformConnection.with(options) { platform in
      var file: FileHandle?
      let headers = try await platform.download(
        "/api/v1/sql?format=\(format.rawValue)", body: .bytes(ByteBuffer(bytes: body))
      ) { piece in
        if file == nil { file = try FeaturesCommand.created(output) }
        try file?.write(contentsOf: Data(piece.readableBytesView))
      }
      try file?.close()
      return headers.first(name: "martlet-rows").flatMap { Int64($0) } ?? 0
    }
    print(
      options.json
        ? JSON.object(["output": .string(output), "rows": .int(rows)]).text
        : "wrote \(rows) rows to \(output)")
  }

  private func runByRedis() async throws {
    let (configuration, _) = try ConfigurationLoader.load(options)
    let found = try await WarehouseByRedis.query(query, configuration)
    let names = found.columns.map(\.name)
    let rows = (0..<found.count).map { row in found.columns.map { JSON($0[row]) } }
    if options.json {
      return print(
        JSON.object([
          "columns": .array(names.map { .string($0) }), "rows": .array(rows.map { .array($0) }),
          "truncated": .bool(false),
        ]).text)
    }
    print(
      Terminal.table(names, rows.map { $0.map { $0.string ?? ($0 == .null ? "" : $0.text) } }))
  }
}
