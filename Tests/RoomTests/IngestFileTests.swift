import Core
import Dispatch
import Features
import Foundation
import Synchronization
import TestKit
import Testing

/// A reader that delivers prepared batches on a thread of its own.
private struct PreparedReader: FileReader {
  var batches: [RawRows]
  var failure: PlatformError?

  func read(
    _ request: FileRequest, _ body: @escaping @Sendable (RawRows) throws -> Void
  ) async throws -> FileSummary {
    try await withCheckedThrowingContinuation { continuation in
      DispatchQueue.global().async {
        continuation.resume(with: Result { try scan(request, body) })
      }
    }
  }

  func scan(_ request: FileRequest, _ body: (RawRows) throws -> Void) throws -> FileSummary {
    for batch in batches { try body(batch) }
    if let failure { throw failure }
    return FileSummary(rows: Int64(batches.reduce(0) { $0 + $1.count }))
  }
}

/// Makes `doubled` of `user`, and raises for 1313.
private struct Doubling: BatchTransform {
  func transform(
    _ batch: ColumnBatch, of source: SourceDefinition, with function: CodeReference
  ) async throws -> TransformedRows {
    guard case .int64(let users)? = batch["user"]?.values else {
      return TransformedRows(columns: [])
    }
    let bad = users.firstIndex(of: 1_313)
    return TransformedRows(
      columns: [Column(name: "doubled", values: .int64(users.map { $0 * 2 }))],
      faults: bad.map { [$0: "ValueError: 1313"] } ?? [:])
  }
}

@Suite struct IngestFileTests {
  private static let rowsPerBatch = 100

  /// `count` batches of clicks with the row's number as user; rows of `bad` have no time.
  private static func batches(
    _ count: Int, bad: Set<Int64> = [], ids: Bool = false
  ) -> [RawRows] {
    (0..<count).map { batch in
      let numbers = (1...rowsPerBatch).map { Int64(batch * rowsPerBatch + $0) }
      var columns = [
        Column(
          name: "at", type: .timestamp,
          numbers.map { bad.contains($0) ? .null : .timestamp(Timestamp(microseconds: $0)) }),
        Column(name: "user", values: .int64(numbers)),
      ]
      if ids {
        columns.append(Column(name: "id", values: .string(numbers.map { "id\($0 % 150)" })))
      }
      return RawRows(
        columns: columns, rowNumbers: numbers, progress: Double(batch + 1) / Double(count))
    }
  }

  private static func temporaryFile(_ text: String) throws -> String {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent(
      "martlet-ingest-\(UInt64.random(in: .min ... .max))"
    ).path
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }

  private func ingest(
    _ bench: IngestBench, _ reader: PreparedReader, content: String = "x", name: String = "f.csv",
    strict: Bool = false, bufferRows: Int = 10_000,
    source: SourceDefinition = IngestBench.source
  ) async throws -> FileReport {
    let path = try IngestFileTests.temporaryFile(content)
    defer { try? FileManager.default.removeItem(atPath: path) }
    let files = FileIngest(reader: reader, ingestor: bench.ingestor, bufferRows: bufferRows)
    return try await bench.running {
      try await files.ingest(path: path, name: name, source: source, strict: strict)
    }
  }

  @Test(arguments: [50, 10_000]) func `a file is stored as one transaction and applied`(
    bufferRows: Int
  ) async throws {
    let bench = IngestBench()
    let report = try await ingest(
      bench, PreparedReader(batches: IngestFileTests.batches(30, bad: [7, 8, 2_000])),
      bufferRows: bufferRows)
    #expect(report.rows == 3_000 && report.accepted == 2_997 && report.quarantined == 3)
    #expect(
      report.reasons == [
        FaultCount(reason: "no event time: column 'at' is absent or null", count: 3)
      ])
    let stored = bench.memory.contents
    #expect(stored.commits == 1)
    #expect(stored.events.flatMap(\.sequences) == Array(1...2_997))
    #expect(stored.quarantined.map(\.position) == [7, 8, 2_000].map { "file f.csv row \($0)" })
    #expect(stored.eventIDs(of: "clicks").first?.hasSuffix(":1") == true)
    #expect(Set(stored.events.flatMap(\.createdAt)).count == 1)
    let row = try #require(stored.rows.first)
    #expect(row.table == "ingested_files" && row.batch["rows"]?[0] == .int64(2_997))
    #expect(bench.applied.count == 2_997)
    #expect(bench.ingestor.positions == ["clicks": 2_997])
  }

  @Test func `the same bytes are ingested once, under any name`() async throws {
    let first = IngestBench()
    let reader = PreparedReader(batches: IngestFileTests.batches(2))
    _ = try await ingest(first, reader, content: "same")
    let second = IngestBench(stored: first.memory.contents)
    let report = try await ingest(second, reader, content: "same", name: "other.csv")
    #expect(report.alreadyIngested && report.accepted == 0 && report.rows == 200)
    #expect(second.memory.contents.commits == 1)
    let third = IngestBench(stored: first.memory.contents)
    #expect(try await ingest(third, reader, content: "different").accepted == 200)
  }

  @Test func `a strict file with a bad row is refused with the rows`() async throws {
    let bench = IngestBench()
    let error = await #expect(throws: PlatformError.self) {
      try await ingest(
        bench, PreparedReader(batches: IngestFileTests.batches(30, bad: [7, 2_000])), strict: true,
        bufferRows: 50)
    }
    #expect(error?.code == .invalidRecord)
    #expect(error?.message.contains("file f.csv row 7: no event time") == true)
    #expect(error?.message.contains("row 2000") == true)
    #expect(bench.memory.contents.commits == 0 && bench.applied.count == 0)
  }

  @Test func `a strict refusal lists the first twenty`() async throws {
    let bench = IngestBench()
    let error = await #expect(throws: PlatformError.self) {
      try await ingest(
        bench, PreparedReader(batches: IngestFileTests.batches(3, bad: Set(1...300))), strict: true)
    }
    #expect(error?.message.contains("20 or more bad records") == true)
    #expect(error?.message.contains("row 20:") == true)
    #expect(error?.message.contains("row 21:") == false)
  }

  @Test func `a file that ends in a fault leaves nothing behind`() async throws {
    let bench = IngestBench()
    let broken = PreparedReader(
      batches: IngestFileTests.batches(20, ids: true),
      failure: PlatformError(.invalidRecord, "truncated"))
    let error = await #expect(throws: PlatformError.self) {
      try await ingest(bench, broken, bufferRows: 50)
    }
    #expect(error?.message == "truncated")
    #expect(bench.memory.contents.commits == 0)
    // Its ids were released: the whole file is accepted afterwards.
    let again = IngestBench(stored: bench.memory.contents)
    let report = try await ingest(
      again, PreparedReader(batches: IngestFileTests.batches(20, ids: true)))
    #expect(report.accepted == 150 && report.duplicates == 1_850)
  }

  @Test func `a failing transaction stops the reading`() async throws {
    let bench = IngestBench(before: { throw PlatformError(.storage, "the disk is full") })
    let error = await #expect(throws: PlatformError.self) {
      try await ingest(bench, PreparedReader(batches: IngestFileTests.batches(50)), bufferRows: 50)
    }
    #expect(error?.code == .storage)
  }

  @Test func `JSON lines are parsed line by line`() async throws {
    let bench = IngestBench()
    let lines = [
      #"{"at":"2026-01-02T03:04:05Z","user":1,"id":"a","page":null}"#, "not json",
      #"{"at":"2026-01-02T03:04:05Z","user":"x"}"#, #"{"at":"2026-01-02T03:04:05Z","extra":1}"#,
    ]
    let raw = RawRows(
      columns: [Column(name: RawRows.lineColumn, values: .string(lines))],
      rowNumbers: [1, 2, 4, 5],
      rejects: [RejectedLine(rowNumber: 3, text: "…", reason: "a line of 3 MB")])
    let report = try await ingest(bench, PreparedReader(batches: [raw]), name: "f.jsonl")
    #expect(report.accepted == 2 && report.quarantined == 3 && report.unknownFields == 1)
    let stored = bench.memory.contents
    #expect(stored.quarantined.map(\.position).sorted() == (2...4).map { "file f.jsonl row \($0)" })
    #expect(stored.events[0].columns[1].presence(at: 0) == .null)
    #expect(stored.events[0].columns[1].presence(at: 1) == .absent)
    #expect(stored.eventIDs(of: "clicks")[1].hasSuffix(":5"))
  }

  @Test func `a file of no known format and a missing file are refused`() async throws {
    let bench = IngestBench()
    let format = await #expect(throws: PlatformError.self) {
      try await ingest(bench, PreparedReader(batches: []), name: "data.xyz")
    }
    #expect(format?.message.contains("csv, parquet or jsonl") == true)
    let missing = await #expect(throws: PlatformError.self) {
      try await FileIngest(reader: PreparedReader(batches: []), ingestor: bench.ingestor).ingest(
        path: "/nowhere/f.csv", name: "f.csv", source: IngestBench.source)
    }
    #expect(missing?.code == .notFound)
    let stray = SourceDefinition(name: "click", eventTime: "at", columns: [])
    let unknown = await #expect(throws: PlatformError.self) {
      try await ingest(
        IngestBench(), PreparedReader(batches: IngestFileTests.batches(1)), source: stray)
    }
    #expect(unknown?.message.contains("did you mean 'clicks'?") == true)
  }

  @Test func `a file goes through its source's transform`() async throws {
    var source = IngestBench.source
    source.transform = CodeReference(file: "t.py", function: "double")
    source.columns.append(ColumnDefinition(name: "doubled", type: .int64))
    let bench = IngestBench(source: source, transform: Doubling())
    let report = try await ingest(
      bench, PreparedReader(batches: IngestFileTests.batches(30)), bufferRows: 50, source: source)
    #expect(report.accepted == 2_999 && report.quarantined == 1)
    #expect(bench.memory.contents.events[0]["doubled"]?[4] == .int64(10))
    #expect(
      bench.memory.contents.quarantined.first?.reason == "t.py:double failed: ValueError: 1313")
    #expect(
      bench.memory.contents.quarantined.first?.position == "file f.csv row 1313",
      "the row of the file, not the event's id")
    let strict = IngestBench(source: source, transform: Doubling())
    let error = await #expect(throws: PlatformError.self) {
      try await ingest(
        strict, PreparedReader(batches: IngestFileTests.batches(30)), strict: true, bufferRows: 50,
        source: source)
    }
    #expect(error?.code == .invalidRecord)
    #expect(strict.memory.contents.commits == 0)
    let none = IngestBench(source: source)
    let missing = await #expect(throws: PlatformError.self) {
      try await ingest(none, PreparedReader(batches: []), source: source)
    }
    #expect(missing?.code == .failedPrecondition)
  }

  @Test func `progress tells rows and the part of the file`() async throws {
    let bench = IngestBench()
    let path = try IngestFileTests.temporaryFile("p")
    defer { try? FileManager.default.removeItem(atPath: path) }
    let seen = Mutex<[FileProgress]>([])
    let files = FileIngest(
      reader: PreparedReader(batches: IngestFileTests.batches(2)), ingestor: bench.ingestor)
    _ = try await bench.running {
      try await files.ingest(path: path, name: "f.csv", source: IngestBench.source) { progress in
        seen.withLock { $0.append(progress) }
      }
    }
    #expect(
      seen.withLock { $0 } == [
        FileProgress(rows: 100, fraction: 0.5), FileProgress(rows: 200, fraction: 1),
      ])
  }
}
