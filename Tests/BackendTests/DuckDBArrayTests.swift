import Core
import DuckDBBackend
import Foundation
import Testing

@Suite("DuckDB arrays")
struct DuckDBArrayTests {
  let scratch: ScratchDirectory
  let warehouse: DuckDBWarehouse

  init() throws {
    scratch = try ScratchDirectory()
    warehouse = try DuckDBWarehouse(path: nil)
  }

  private static let types: [ColumnType] = ScalarType.allCases.flatMap {
    [.array(of: $0, length: 3), .array(of: $0, length: nil)]
  }

  private static let source = SourceDefinition(
    name: "docs", eventTime: "at",
    columns: types.enumerated().map { ColumnDefinition(name: "c\($0)", type: $1) })

  private static func elements(_ type: ScalarType, _ count: Int, _ seed: Int) -> ColumnValues {
    let numbers = (0..<count).map { seed + $0 }
    return switch type {
    case .bool: .bool(numbers.map { $0 % 3 == 0 })
    case .int64: .int64(numbers.map { Int64($0) })
    case .double: .double(numbers.map { Double($0) / 4 })
    case .string: .string(numbers.map { $0 % 2 == 0 ? "s\($0)" : "a text of many bytes \($0)" })
    case .timestamp: .timestamp(numbers.map { Int64($0) * 1_000 })
    }
  }

  /// More rows than a chunk has, every fifth one null.
  private static func batch(_ count: Int) -> EventBatch {
    EventBatch(
      source: "docs",
      columns: source.columns.map { column in
        Column(
          name: column.name, type: column.type,
          (0..<count).map { row in
            guard row % 5 != 4 else { return .null }
            guard case .array(let type, let length) = column.type else { return .null }
            return .list(elements(type, length ?? row % 4, row))
          })
      },
      eventTimestamps: (0..<count).map { Int64($0) }, createdAt: (0..<count).map { Int64($0) },
      sequences: (0..<count).map { Int64($0) }, eventIDs: (0..<count).map { "\($0)" })
  }

  @Test func `arrays of every type are stored and read back over many chunks`() async throws {
    let batch = Self.batch(5_000)
    try await warehouse.prepare([Self.source])
    try await warehouse.commit(WarehouseCommit(events: [batch]))
    let read = try await table(warehouse, "SELECT * FROM events_docs ORDER BY sequence")
    for column in batch.columns {
      #expect(read[column.name] == column, "\(column.name) \(column.type.rawValue)")
    }
    let shuffled = try await table(
      warehouse, "SELECT * FROM events_docs WHERE sequence % 3 = 1 ORDER BY sequence DESC")
    let rows = (0..<5_000).filter { $0 % 3 == 1 }.reversed()
    for column in batch.columns {
      let expected = column.gather(Array(rows))
      #expect(shuffled[column.name] == expected, "\(column.type.rawValue)")
    }
  }

  @Test func `a batch without nulls after one with nulls is stored as it is`() async throws {
    try await warehouse.prepare([Self.source])
    let whole = Self.batch(9)
    try await warehouse.commit(WarehouseCommit(events: [whole]))
    var dense = whole
    dense.columns = whole.columns.map { $0.gather([0, 1, 2, 3, 5, 6, 7, 8, 0]) }
    dense.sequences = dense.sequences.map { $0 + 9 }
    try await warehouse.commit(WarehouseCommit(events: [dense]))
    let read = try await table(
      warehouse, "SELECT * FROM events_docs WHERE sequence >= 9 ORDER BY sequence")
    for column in dense.columns {
      for row in 0..<9 { #expect(read[column.name]?[row] == column[row]) }
    }
  }

  @Test func `columns are DuckDB's own arrays and lists`() async throws {
    try await warehouse.prepare([Self.source])
    let types = try await warehouse.query(
      "SELECT column_type FROM (DESCRIBE events_docs) WHERE starts_with(column_name, 'c') AND column_name <> 'created_at'",
      as: String.self)
    #expect(
      types == [
        "BOOLEAN[3]", "BOOLEAN[]", "BIGINT[3]", "BIGINT[]", "DOUBLE[3]", "DOUBLE[]", "VARCHAR[3]",
        "VARCHAR[]", "TIMESTAMP[3]", "TIMESTAMP[]",
      ])
  }

  @Test func `an array of another length is another type`() async throws {
    try await warehouse.prepare([Self.source])
    try await warehouse.commit(WarehouseCommit(events: [Self.batch(2)]))
    var changed = Self.source
    changed.columns[4].type = .array(of: .double, length: 4)
    let error = await #expect(throws: PlatformError.self) {
      try await warehouse.prepare([changed])
    }
    let told = error?.message ?? ""
    #expect(
      told.contains("is stored as double[3] in 2 events and cannot become double[4]"), "\(told)")
  }

  @Test func `columns of a table without events take other types, and events of those`()
    async throws
  {
    try await warehouse.prepare([Self.source])
    try await warehouse.commit(WarehouseCommit(events: [Self.batch(3)]))
    try await warehouse.execute("DELETE FROM events_docs", [])
    var changed = SourceDefinition(
      name: "docs", eventTime: "at",
      columns: Self.source.columns.reversed().enumerated().map {
        ColumnDefinition(name: "c\($0)", type: $1.type)
      })
    changed.columns.append(ColumnDefinition(name: "more", type: .int64))
    try await warehouse.prepare([changed])
    let cells = changed.columns.map { column -> Column in
      guard case .array(let type, let length) = column.type else {
        return Column(name: column.name, values: .int64([7]))
      }
      return Column(
        name: column.name, type: column.type, [.list(Self.elements(type, length ?? 2, 5))])
    }
    try await warehouse.commit(
      WarehouseCommit(events: [
        EventBatch(
          source: "docs", columns: cells, eventTimestamps: [1], createdAt: [1], sequences: [9],
          eventIDs: ["a"])
      ]))
    let read = try await table(warehouse, "SELECT * FROM events_docs")
    for column in cells { #expect(read[column.name] == column, "\(column.type.rawValue)") }
    #expect(
      try await warehouse.query(
        "SELECT count(*) FROM event_columns WHERE source = 'docs'", as: Int.self) == [11])
  }

  @Test func `a column of arrays is added to a table that has events`() async throws {
    var first = Self.source
    first.columns = [ColumnDefinition(name: "x", type: .int64)]
    try await warehouse.prepare([first])
    try await warehouse.commit(
      WarehouseCommit(events: [
        EventBatch(
          source: "docs", columns: [Column(name: "x", values: .int64([1]))], eventTimestamps: [1],
          createdAt: [1], sequences: [1], eventIDs: ["a"])
      ]))
    first.columns.append(ColumnDefinition(name: "v", type: .array(of: .double, length: 3)))
    try await warehouse.prepare([first])
    let read = try await table(warehouse, "SELECT v FROM events_docs")
    #expect(read["v"]?.type == .array(of: .double, length: 3))
    #expect(read["v"]?.presence == [1])
  }

  @Test func `an array is a parameter and a result of SQL`() async throws {
    for elements: ColumnValues in [
      .double([1, 2.5]), .int64([3]), .string(["a", "b c"]), .bool([true]), .timestamp([5]),
      .double([]),
    ] {
      let read = try await table(warehouse, "SELECT ? AS x", [.list(elements)])
      #expect(read["x"]?[0] == .list(elements))
    }
    let near = try await warehouse.query(
      "SELECT array_cosine_similarity([1, 0]::DOUBLE[2], CAST(? AS DOUBLE[2]))",
      [.list(.double([2, 0]))], as: Double.self)
    #expect(near == [1])
  }

  @Test func `a list with a null element or of lists cannot be returned`() async throws {
    for sql in ["SELECT [1, NULL] AS x", "SELECT [[1]] AS x"] {
      let error = await #expect(throws: PlatformError.self) { try await table(warehouse, sql) }
      #expect(error?.message.contains("Column 'x'") == true, "\(sql)")
    }
  }

  @Test func `a Parquet file brings lists, and marks those with a null element`() async throws {
    let path = scratch.file("f.parquet")
    try await warehouse.execute(
      """
      COPY (SELECT [i, i + 0.5]::FLOAT[] AS v, CASE WHEN i % 3 = 0 THEN ['a', NULL] ELSE ['t' || i] END AS tags,
      [make_timestamp(i)] AS local, [[i]] AS nested FROM range(5000) t(i)) TO '\(path)' (FORMAT parquet)
      """, [])
    var read: [RawRows] = []
    try DuckDBFileReader().scan(
      FileRequest(path: path, format: .parquet, columns: ["v", "tags", "local"])
    ) { read.append($0) }
    #expect(read.reduce(0) { $0 + $1.count } == 5_000)
    let first = try #require(read.first)
    #expect(first["v"]?[1] == .list(.double([1, 1.5])))
    #expect(first["tags"]?[1] == .list(.string(["t1"])))
    #expect(first["tags"]?[3] == .null)
    #expect(first.brokenLists["tags"]?[3] == #"["a",null]"#)
    #expect(first.brokenLists.keys.sorted() == ["tags"])
    #expect(first.localTimes == ["local"])
    let error = #expect(throws: PlatformError.self) {
      try DuckDBFileReader().scan(
        FileRequest(path: path, format: .parquet, columns: ["nested"])
      ) { _ in }
    }
    #expect(error?.message.contains("Column 'nested'") == true)
  }

  @Test func `a table file keeps arrays, as lists in Parquet and as JSON text in CSV`() async throws
  {
    let batch = ColumnBatch(columns: [
      Column(
        name: "v", type: .array(of: .double, length: 2),
        [.list(.double([1, 2])), .null, .list(.double([3, .infinity]))]),
      Column(
        name: "tags", type: .array(of: .string, length: nil),
        [.list(.string(["a\"", "b"])), .list(.string([])), .null]),
    ])
    let files = DuckDBTableFiles()
    try await files.write(batch, to: scratch.file("f.parquet"), format: .parquet)
    let request = FileRequest(
      path: scratch.file("f.parquet"), format: .parquet, columns: ["v", "tags"])
    try await DuckDBFileReader().read(request) { rows in
      for column in batch.columns {
        for row in 0..<rows.count {
          #expect(rows[column.name]?[row] == column[row], "\(column.name) \(row)")
        }
      }
    }
    try await files.write(batch, to: scratch.file("f.csv"), format: .csv)
    #expect(
      try String(contentsOfFile: scratch.file("f.csv"), encoding: .utf8) == """
        v,tags
        "[1.0,2.0]","[""a\\""\"",""b""]"
        ,[]
        "[3.0,""Infinity""]",

        """)
  }
}
