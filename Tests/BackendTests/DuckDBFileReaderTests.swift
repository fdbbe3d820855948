import Core
import DuckDBBackend
import Foundation
import Synchronization
import Testing

/// Everything a file gave, joined.
private struct Contents: Sendable {
  var rows: ColumnBatch?
  var numbers: [Int64] = []
  var rejects: [RejectedLine] = []
  var localTimes: Set<String> = []
  var progress: [Double] = []
  var summary = FileSummary()

  subscript(name: String) -> Column? { rows?.columns.first { $0.name == name } }
  func texts(_ name: String) -> [String?] {
    guard let column = self[name] else { return [] }
    return (0..<column.count).map { row in
      guard case .string(let text) = column[row] else { return nil }
      return text
    }
  }
}

private func readAll(
  _ path: String, _ format: FileFormat, _ columns: [String], required: [String] = []
) async throws -> Contents {
  let contents = Mutex(Contents())
  let request = FileRequest(path: path, format: format, columns: columns, required: required)
  let summary = try await DuckDBFileReader().read(request) { rows in
    contents.withLock { contents in
      let batch = ColumnBatch(columns: rows.columns, count: rows.count)
      if contents.rows == nil {
        contents.rows = batch
      } else {
        contents.rows?.append(contentsOf: batch)
      }
      contents.numbers += rows.rowNumbers
      contents.rejects += rows.rejects
      contents.localTimes.formUnion(rows.localTimes)
      contents.progress.append(rows.progress)
    }
  }
  return contents.withLock {
    $0.summary = summary
    return $0
  }
}

@Suite("File reader: CSV")
struct DuckDBFileReaderCSVTests {
  let scratch: ScratchDirectory

  init() throws { scratch = try ScratchDirectory() }

  private func read(
    _ text: String, _ columns: [String], required: [String] = []
  ) async throws
    -> Contents
  {
    try await readAll(
      try scratch.write(text, to: "f.csv"), .csv, columns, required: required)
  }

  @Test func `a doubled quote is one quote, whatever combines with it`() async throws {
    let file = try await read("x\n\"say \"\"hi\"\"\u{301}\"\n\"\"\"\"\"\"\n", ["x"])
    let texts = file.texts("x").map { Array(($0 ?? "").utf8) }
    #expect(texts == ["say \"hi\"\u{301}", "\"\""].map { Array($0.utf8) })
  }

  @Test func `fields come as text and an empty one is null unless it is quoted`() async throws {
    let file = try await read("id,name,x\n1,Ann,\n2,\"\",0.5\n3,,\"\"\n", ["x", "name"])
    #expect(file.texts("name") == ["Ann", "", nil])
    #expect(file.texts("x") == [nil, "0.5", ""])
    #expect(file.rows?.columns.map(\.name) == ["x", "name"])
    #expect(file.numbers == [1, 2, 3])
    #expect(
      file.summary == FileSummary(rows: 3, rejected: 0, missingColumns: [], ignoredColumns: ["id"]))
  }

  @Test(arguments: [
    "a,b\n1,\"x\"\"y\"\n", "a,b\r\n1,\"x\"\"y\"\r\n", "a;b\n1;\"x\"\"y\"", "a\tb\n1\t\"x\"\"y\"\n",
    "a|b\n1|\"x\"\"y\"\n", "\u{FEFF}a,b\n1,\"x\"\"y\"\n", "\"a\", b\n1,\"x\"\"y\"\n\n",
    "a,b\n\n1,\"x\"\"y\"",
  ])
  func `the common dialects are understood`(text: String) async throws {
    let file = try await read(text, ["a", "b"])
    #expect(file.texts("a") == ["1"])
    #expect(file.texts("b") == ["x\"y"])
    #expect(file.rejects.isEmpty)
  }

  @Test func `ragged and broken lines are rejected with number, text and reason`() async throws {
    let file = try await read(
      "a,b,c\n1,2,3\n4,5\n6,7,8,9\n\"multi\nline\",2,3\n\"x\"y,2,3\n7,8,9\n", ["a", "b", "c"])
    #expect(file.texts("a") == ["1", "multi\nline", "7"])
    #expect(file.numbers == [1, 4, 6])
    #expect(
      file.rejects == [
        RejectedLine(
          rowNumber: 2, text: "4,5", reason: "The line has 2 fields, the header has 3."),
        RejectedLine(
          rowNumber: 3, text: "6,7,8,9", reason: "The line has 4 fields, the header has 3."),
        RejectedLine(rowNumber: 5, text: "\"x\"y,2,3", reason: "Text follows a closing quote."),
      ])
    #expect(file.summary.rows == 3 && file.summary.rejected == 3)
  }

  @Test func `a quote that is never closed costs only its own line`() async throws {
    let file = try await read("a,b\n1,2\n\"3,4\n5,6\n", ["a"])
    #expect(file.texts("a") == ["1", "5"])
    #expect(file.numbers == [1, 3])
    #expect(file.rejects.map(\.text) == ["\"3,4"])
    #expect(file.rejects.first?.reason.contains("not closed") == true)
  }

  @Test func `a line that is not UTF-8 is rejected`() async throws {
    var data = Data("a,b\n1,x\n2,".utf8)
    data += [0xE9, 0x0A]
    data += Data("3,é\n".utf8)
    let path = try scratch.write(data, to: "latin.csv")
    let file = try await readAll(path, .csv, ["a", "b"])
    #expect(file.texts("b") == ["x", "é"])
    #expect(file.rejects.map(\.rowNumber) == [2])
  }

  @Test func `many rows keep their order and numbers`() async throws {
    let lines = (1...50_000).map { "\($0),value \($0),\"quoted, \($0)\"" }
    let file = try await read("n,v,q\n" + lines.joined(separator: "\n"), ["n", "q"])
    #expect(file.numbers == (1...50_000).map { Int64($0) })
    #expect(file.texts("n") == (1...50_000).map { "\($0)" })
    #expect(file.texts("q").last == "quoted, 50000")
    #expect(file.progress == file.progress.sorted() && file.progress.last == 1)
  }

  @Test func `a line of gigabytes is rejected in little memory`() async throws {
    let path = try scratch.write("a,b\n1,2\n", to: "long.csv")
    let handle = try #require(FileHandle(forWritingAtPath: path))
    try handle.seekToEnd()
    // A hole in the file reads as zeros and takes no disk.
    try handle.truncate(atOffset: 1 << 30)
    try handle.seekToEnd()
    try handle.write(contentsOf: Data("\n3,4\n".utf8))
    try handle.close()
    let file = try await readAll(path, .csv, ["a", "b"])
    #expect(file.texts("a") == ["1", "3"])
    #expect(file.rejects.map(\.rowNumber) == [2])
    #expect(file.rejects.first?.reason.contains("longer than") == true)
    #expect(file.rejects.first?.text.utf8.count == Limits.lineBytes)
  }

  @Test(arguments: [
    ("", "is empty"), ("id,x\n1,2\n", "has no column 'time'"),
    ("id,tme\n1,2\n", "did you mean 'tme'"),
    ("time,time\n1,2\n", "two columns named 'time'"), ("PAR1xxxx", "is Parquet, not CSV"),
    ("\u{1F}\u{8B}", "none"),
  ])
  func `a file that cannot be read says why`(text: String, message: String) async throws {
    let error = await #expect(throws: PlatformError.self) {
      _ = try await read(text, ["time", "x"], required: ["time"])
    }
    #expect(error?.code == .invalidRecord)
    #expect(
      message == "none" || error?.message.contains(message) == true, "\(error?.message ?? "")")
    #expect(error?.message.contains("f.csv") == true)
  }

  @Test func `a missing file and a folder are told`() async throws {
    let missing = await #expect(throws: PlatformError.self) {
      _ = try await readAll(scratch.file("none.csv"), .csv, ["a"])
    }
    #expect(missing?.code == .notFound)
    await #expect(throws: PlatformError.self) {
      _ = try await readAll(scratch.path, .csv, ["a"])
    }
  }

  @Test func `a throwing body ends the reading with its error`() async throws {
    struct Enough: Error {}
    let path = try scratch.write("a\n1\n", to: "f.csv")
    await #expect(throws: Enough.self) {
      try await DuckDBFileReader().read(FileRequest(path: path, format: .csv, columns: ["a"])) {
        _ in
        throw Enough()
      }
    }
  }
}

@Suite("File reader: JSONL")
struct DuckDBFileReaderJSONLTests {
  let scratch: ScratchDirectory

  init() throws { scratch = try ScratchDirectory() }

  @Test func `lines come whole, blank ones count and bad ones are rejected`() async throws {
    var data = Data("{\"a\":1}\r\n\n{\"a\":\"ü\"}\n".utf8)
    data += [0xFF, 0x0A]
    data += Data((String(repeating: "x", count: Limits.lineBytes + 1) + "\n{\"a\":3}").utf8)
    let path = try scratch.write(data, to: "f.jsonl")
    let file = try await readAll(path, .jsonl, ["a"])
    #expect(file.texts(RawRows.lineColumn) == ["{\"a\":1}", "{\"a\":\"ü\"}", "{\"a\":3}"])
    #expect(file.numbers == [1, 3, 6])
    #expect(file.rejects.map(\.rowNumber) == [4, 5])
    #expect(file.summary == FileSummary(rows: 3, rejected: 2))
  }

  @Test func `long files come in order`() async throws {
    let text = (1...30_000).map { "{\"n\":\($0)}\n" }.joined()
    let file = try await readAll(try scratch.write(text, to: "f.jsonl"), .jsonl, [])
    #expect(file.numbers == (1...30_000).map { Int64($0) })
    #expect(file.texts(RawRows.lineColumn).last == "{\"n\":30000}")
  }
}

@Suite("File reader: Parquet")
struct DuckDBFileReaderParquetTests {
  let scratch: ScratchDirectory
  let warehouse: DuckDBWarehouse

  init() throws {
    scratch = try ScratchDirectory()
    warehouse = try DuckDBWarehouse(path: nil)
  }

  private func parquet(_ query: String, _ name: String = "f.parquet") async throws -> String {
    let path = scratch.file(name)
    try await warehouse.execute(
      "COPY (\(query)) TO '\(path)' (FORMAT parquet, ROW_GROUP_SIZE 4096)", [])
    return path
  }

  @Test func `columns come typed, in order, with row numbers and local times marked`() async throws
  {
    let path = try await parquet(
      "SELECT i::INTEGER AS i, i / 2.0::FLOAT AS f, 'name ' || i AS s, i % 2 = 0 AS b, NULL::DOUBLE AS n, "
        + "make_timestamp(i * 1000000) AS local, to_timestamp(i) AS utc, [i] AS list FROM range(20000) t(i)",
      "odd [name]*'s.parquet".replacing("'", with: ""))
    let file = try await readAll(path, .parquet, ["utc", "s", "i", "f", "b", "n", "local", "more"])
    #expect(file.numbers == (1...20_000).map { Int64($0) })
    #expect(file.rows?.columns.map(\.name) == ["utc", "s", "i", "f", "b", "n", "local"])
    #expect(file["i"]?.values == .int64((0..<20_000).map { Int64($0) }))
    #expect(file["f"]?[3] == .double(1.5))
    #expect(file["s"]?[19_999] == .string("name 19999"))
    #expect(file["b"]?[1] == .bool(false))
    #expect(file["n"]?[0] == .null)
    #expect(file["utc"]?[7] == .timestamp(Timestamp(microseconds: 7_000_000)))
    #expect(file["local"]?[7] == .timestamp(Timestamp(microseconds: 7_000_000)))
    #expect(file.localTimes == ["local"])
    #expect(file.summary.missingColumns == ["more"])
    #expect(file.summary.ignoredColumns == ["list"])
    #expect(file.progress.last == 1)
  }

  @Test func `a nested column that is wanted is refused by name`() async throws {
    let path = try await parquet("SELECT 1 AS a, {'x': 1} AS b")
    let error = await #expect(throws: PlatformError.self) {
      _ = try await readAll(path, .parquet, ["a", "b"])
    }
    #expect(error?.code == .invalidRecord)
    #expect(error?.message.contains("Column 'b'") == true)
  }

  @Test func `a truncated, a damaged, an empty and a foreign file say so`() async throws {
    let path = try await parquet("SELECT i, random() AS r FROM range(100000) t(i)")
    var data = try Data(contentsOf: URL(fileURLWithPath: path))
    let cut = try scratch.write(data.prefix(data.count / 2), to: "cut.parquet")
    data.replaceSubrange(
      (data.count - 200)..<(data.count - 100), with: Data(repeating: 0xFF, count: 100))
    let damaged = try scratch.write(data, to: "damaged.parquet")
    for (path, message) in [
      (cut, "truncated"), (damaged, "damaged"),
      (try scratch.write("", to: "e.parquet"), "is empty"),
      (try scratch.write("a,b\n1,2\n", to: "c.parquet"), "is not Parquet"),
    ] {
      let error = await #expect(throws: PlatformError.self) {
        _ = try await readAll(path, .parquet, ["i"])
      }
      #expect(error?.code == .invalidRecord)
      #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
      #expect(error?.message.contains(path) == true)
    }
  }

  @Test func `a required column that is missing names the nearest`() async throws {
    let path = try await parquet("SELECT 1 AS event_tme")
    let error = await #expect(throws: PlatformError.self) {
      _ = try await readAll(path, .parquet, ["event_time"], required: ["event_time"])
    }
    #expect(error?.message.contains("did you mean 'event_tme'") == true)
  }

  @Test func `the caller's own error goes through and cancelling ends the reading`() async throws {
    let path = try await parquet("SELECT i FROM range(100000) t(i)")
    let request = FileRequest(path: path, format: .parquet, columns: ["i"])
    let own = PlatformError(.conflict, "mine")
    let error = await #expect(throws: PlatformError.self) {
      try await DuckDBFileReader().read(request) { _ in throw own }
    }
    #expect(error?.code == .conflict)
    let started = AsyncStream.makeStream(of: Void.self)
    let goOn = DispatchSemaphore(value: 0)
    let task = Task {
      try await DuckDBFileReader().read(request) { _ in
        started.continuation.finish()
        goOn.wait()
      }
    }
    for await _ in started.stream {}
    task.cancel()
    for _ in 0..<100 { goOn.signal() }
    await #expect(throws: CancellationError.self) { try await task.value }
  }
}
