import Core
import DuckDBBackend
import Foundation
import RedisBackend
import Testing

/// The warehouse as other processes use it.
@Suite("Shared warehouse")
struct SharedWarehouseTests {
  let warehouse: DuckDBWarehouse
  let folder: ScratchDirectory

  init() async throws {
    folder = try ScratchDirectory()
    let spool = folder.file("spool")
    try FileManager.default.createDirectory(atPath: spool, withIntermediateDirectories: true)
    warehouse = try DuckDBWarehouse(
      path: nil,
      options: DuckDBOptions(readableDirectories: [spool + "/"]), clock: FixedClock())
    try await warehouse.prepare([orders])
    _ = try await warehouse.apply([
      WriteJob(
        id: "make", sql: "CREATE TABLE notes (id BIGINT PRIMARY KEY, words VARCHAR)", runs: [[]])
    ])
  }

  private func insert(_ id: String, _ number: Int64, _ words: String = "x") -> WriteJob {
    WriteJob(
      id: id, sql: "INSERT INTO notes VALUES (?, ?)", runs: [[.int64(number), .string(words)]])
  }

  private func texts() async throws -> [String] {
    try await warehouse.query("SELECT words FROM notes ORDER BY id", as: String.self)
  }

  private func refusal(_ job: WriteJob) async throws -> PlatformError? {
    if case .refused(let error) = try await warehouse.apply([job])[0] { error } else { nil }
  }

  @Test func `a job that comes again is answered from its note and not applied again`() async throws
  {
    let job = WriteJob(
      id: "one", sql: "INSERT INTO notes VALUES (?, ?)",
      runs: [[.int64(1), .string("a")], [.int64(2), .string("b")]])
    guard case .applied(2) = try await warehouse.apply([job])[0] else {
      return #expect(Bool(false), "the first time")
    }
    let again = try await warehouse.apply([job, insert("two", 3), job])
    guard case .appliedBefore(2) = again[0], case .applied(1) = again[1],
      case .appliedBefore(2) = again[2]
    else { return #expect(Bool(false), "\(again)") }
    #expect(try await texts() == ["a", "b", "x"])
  }

  @Test func `the same id twice in one batch is one job`() async throws {
    let outcomes = try await warehouse.apply([insert("one", 1), insert("one", 1)])
    guard case .applied(1) = outcomes[0], case .appliedBefore(1) = outcomes[1] else {
      return #expect(Bool(false), "\(outcomes)")
    }
    #expect(try await texts() == ["x"])
  }

  @Test func `another job under a used id is refused`() async throws {
    _ = try await warehouse.apply([insert("one", 1)])
    let error = try #require(try await refusal(insert("one", 2)))
    #expect(error.code == .conflict)
    #expect(try await texts() == ["x"])
  }

  @Test func `of a batch only the job that fails is refused`() async throws {
    let outcomes = try await warehouse.apply([
      insert("one", 1), insert("two", 1), WriteJob(id: "three", sql: "INSERT INT", runs: [[]]),
      insert("four", 4),
    ])
    guard case .applied = outcomes[0], case .refused(let taken) = outcomes[1],
      case .refused(let malformed) = outcomes[2], case .applied = outcomes[3]
    else { return #expect(Bool(false), "\(outcomes)") }
    #expect(taken.code == .conflict)
    #expect(malformed.code == .invalidArgument)
    #expect(try await texts() == ["x", "x"])
  }

  @Test func `of a job with several rows all are stored or none`() async throws {
    let error = try await refusal(
      WriteJob(
        id: "one", sql: "INSERT INTO notes VALUES (?, ?)",
        runs: [[.int64(1), .string("a")], [.int64(1), .string("b")]]))
    #expect(error?.code == .conflict)
    #expect(try await texts() == [])
  }

  @Test func `a refused job stays refused though it could be applied by now`() async throws {
    let job = WriteJob(id: "early", sql: "INSERT INTO later VALUES (1)", runs: [[]])
    let first = try #require(try await refusal(job))
    _ = try await warehouse.apply([
      WriteJob(id: "make later", sql: "CREATE TABLE later (a BIGINT)", runs: [[]])
    ])
    let second = try #require(try await refusal(job))
    #expect(second.code == first.code)
    #expect(
      try await warehouse.query("SELECT count(*) FROM later", as: Int.self) == [0])
  }

  @Test func `a job that is too late is told from its note or not begun`() async throws {
    _ = try await warehouse.apply([insert("one", 1)])
    var late = [insert("one", 1), insert("two", 2)]
    for index in late.indices { late[index].onlyIfNoted = true }
    let outcomes = try await warehouse.apply(late)
    guard case .appliedBefore(1) = outcomes[0], case .notBegun = outcomes[1] else {
      return #expect(Bool(false), "\(outcomes)")
    }
    #expect(try await texts() == ["x"])
  }

  @Test func `the oldest notes are forgotten`() async throws {
    _ = try await warehouse.apply((1...10).map { insert("job \($0)", $0) })
    try await warehouse.forgetJobs(keeping: 3)
    let left = try await warehouse.query(
      "SELECT id FROM applied_jobs ORDER BY number", as: String.self)
    #expect(left == ["job 8", "job 9", "job 10"])
  }

  @Test func `a parameter is a value, whatever it says`() async throws {
    let words = "'); DROP TABLE notes; --"
    _ = try await warehouse.apply([insert("one", 1, words)])
    #expect(try await texts() == [words])
    let found = try await read("SELECT id FROM notes WHERE words = ?", [.string(words)])
    #expect(found == 1)
    #expect(try await read("SELECT id FROM notes WHERE words = ?", [.string("' OR 1=1")]) == 0)
  }

  private func read(_ sql: String, _ parameters: [Value] = []) async throws -> Int {
    let rows = Locked(0)
    try await warehouse.read(sql, parameters) { batch in
      let count = batch.count
      rows.update { $0 += count }
    }
    return rows.value
  }

  @Test(arguments: [
    "INSERT INTO notes VALUES (1, 'x')", "INSERT INTO notes VALUES (1, 'x') RETURNING id",
    "UPDATE notes SET words = 'x'", "DELETE FROM notes", "DROP TABLE notes",
    "CREATE TEMP TABLE t AS SELECT 1", "SELECT 1; DROP TABLE notes", "ATTACH 'other.duckdb'",
    "COPY notes TO 'SPOOL/out.csv'", "COPY (SELECT 1) TO '/tmp/martlet-out.csv'",
    "EXPLAIN ANALYZE COPY notes TO 'SPOOL/out.csv'",
    "EXPLAIN ANALYZE INSERT INTO notes VALUES (1, 'x')",
    "EXPORT DATABASE 'SPOOL/all'", "INSTALL httpfs", "LOAD httpfs", "SET memory_limit = '1GB'",
    "PRAGMA database_list", "CALL enable_logging()", "CHECKPOINT", "VACUUM", "BEGIN TRANSACTION",
    "SELECT * FROM read_csv('SPOOL/in.csv')", "SELECT * FROM \"read_csv\"('SPOOL/in.csv')",
    "SELECT * FROM READ_CSV /* x */ ('SPOOL/in.csv')", "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM main.read_blob('SPOOL/in.csv')", "SELECT * FROM glob('SPOOL/*')",
    "SELECT * FROM query('SELECT * FROM read_csv(''SPOOL/in.csv'')')",
    "SELECT * FROM U&\"read\\005fcsv\"('SPOOL/in.csv')", "SELECT * FROM '/etc/passwd.csv'",
    "SELECT * FROM checkpoint()", "SELECT * FROM enable_logging()",
    "SELECT * FROM duckdb_settings()", "SELECT nextval('applied_job_numbers')",
    "SELECT write_log('x')", "SELECT * FROM arrow_scan(1, 2, 3)", "SELECT getenv('HOME')", "",
  ])
  func `a read that could do more than read tables is refused`(_ text: String) async throws {
    try folder.write("a\n1\n", to: "spool/in.csv")
    let before = try FileManager.default.subpathsOfDirectory(atPath: folder.path).count
    let sql = text.replacingOccurrences(of: "SPOOL", with: folder.file("spool"))
    let error = await #expect(throws: PlatformError.self, "\(sql)") { try await read(sql) }
    #expect(error?.retryable == false, "\(sql): \(String(describing: error))")
    #expect(try FileManager.default.subpathsOfDirectory(atPath: folder.path).count == before)
    #expect(try await texts() == [])
  }

  @Test(arguments: [
    "SELECT 1", "FROM notes", "WITH a AS (SELECT 1 AS b) SELECT b FROM a", "SELECT unnest([1, 2])",
    "SELECT * FROM range(3)", "DESCRIBE notes", "SUMMARIZE notes", "VALUES (1)", "SHOW TABLES",
    "SELECT count(*) FROM events_orders",
    "SELECT query FROM (SELECT words AS query FROM notes UNION ALL SELECT 'x')",
  ])
  func `a read of tables is answered`(_ sql: String) async throws {
    #expect(try await read(sql) >= 0)
  }

  @Test(arguments: [
    "SELECT 1", "COPY notes TO 'x.csv'", "ATTACH 'other.duckdb'", "SET threads = 1", "LOAD httpfs",
    "COMMIT", "CREATE TABLE t AS SELECT * FROM read_text('/etc/passwd')",
    "CREATE VIEW v AS SELECT * FROM glob('*')",
    "INSERT INTO notes VALUES (1, 'x'); DROP TABLE notes",
    "DELETE FROM applied_jobs", "UPDATE schema_migrations SET version = 99",
    "INSERT INTO \"stream_offsets\" VALUES ('t', 0, 0, now())", "DROP TABLE events_orders",
    "INSERT INTO events_orders (customer) VALUES ('x')", "DELETE FROM \"events_orders\"",
    "INSERT INTO main.events_orders (customer) VALUES ('x')", "CREATE VIEW events_new AS SELECT 1",
    "WITH a AS (SELECT 'x' AS b) INSERT INTO events_orders (customer) SELECT b FROM a",
    "MERGE INTO events_orders USING notes ON items = id WHEN MATCHED THEN DELETE",
    "CREATE OR REPLACE TABLE events_orders (a BIGINT)", "ALTER TABLE events_orders DROP items",
    "UPDATE notes SET words = (SELECT max(customer) FROM events_orders)",
    "INSERT INTO notes VALUES (?, ?)", "DROP TABLE model_logs", "DROP VIEW features_table",
    "ALTER TABLE quarantine RENAME TO q2", "UPDATE quarantine SET reason = 1",
    "DELETE FROM \"labels\"", "INSERT INTO main.drift_scores SELECT * FROM drift_scores",
    "CREATE OR REPLACE TABLE datasets (a BIGINT)",
    "CREATE OR REPLACE VIEW features_table AS SELECT 1",
    "DELETE FROM notes WHERE id IN (SELECT count(*) FROM model_logs)", "DROP TABLE view_builds",
    "CREATE MACRO sum(x) AS 12345", "CREATE OR REPLACE FUNCTION lower(x) AS 1",
    "CREATE TEMP TABLE quarantine (a BIGINT)", "CREATE TEMP TABLE mine (a BIGINT)",
    "ALTER TABLE notes RENAME TO events_t9", "ALTER TABLE notes RENAME TO \"Events_zz\"",
    "CREATE VIEW duckdb_views AS SELECT 1 AS c", "CREATE TABLE \"duckdb_tables\" (c BIGINT)",
    "CREATE VIEW sqlite_master AS SELECT 1 AS c", "ALTER TABLE notes RENAME TO pg_class",
    "CREATE SCHEMA other", "CREATE TYPE mood AS ENUM ('a')", "DROP SCHEMA main CASCADE",
  ])
  func `a write that could do more than change rows of its own tables is refused`(
    _ sql: String
  ) async throws {
    let error = try #require(
      try await refusal(WriteJob(id: "bad", sql: sql, runs: [[]])), "\(sql) was applied")
    #expect(!error.retryable, "\(error)")
    #expect(try await texts() == [])
  }

  @Test(arguments: [
    "CREATE TABLE mine (events_count BIGINT)", "CREATE TABLE mine AS SELECT * FROM events_orders",
    "CREATE SEQUENCE numbers", "CREATE TABLE mine AS SELECT * FROM model_logs",
    "CREATE UNIQUE INDEX by_words ON notes (words)", "CREATE OR REPLACE TABLE mine (a BIGINT)",
    "CREATE VIEW mine AS SELECT count(*) AS failures FROM quarantine",
    "CREATE VIEW v AS SELECT customer FROM events_orders",
    "WITH a AS (SELECT 5 AS id) INSERT INTO notes SELECT id, 'x' FROM a",
    "INSERT INTO notes (id) VALUES (9) ON CONFLICT DO NOTHING", "ALTER TABLE notes ADD more BIGINT",
    "DELETE FROM notes WHERE words IS NULL", "ALTER TABLE notes RENAME TO remarks",
  ])
  func `a write of tables of its own is applied`(_ sql: String) async throws {
    #expect(try await refusal(WriteJob(id: "good", sql: sql, runs: [[]])) == nil)
  }

  @Test func `every table that the platform makes is guarded`() async throws {
    let names = try await warehouse.query(
      "SELECT lower(table_name) FROM information_schema.tables WHERE table_schema = 'main'",
      as: String.self)
    for name in names where name != "notes" {
      let error = try await refusal(
        WriteJob(id: "drop \(name)", sql: "DROP TABLE \(name)", runs: [[]]))
      #expect(error?.message.contains("the statement is refused") == true, "\(name)")
    }
  }

  @Test func `a write may take from events`() async throws {
    try await warehouse.commit(WarehouseCommit(events: [orderBatch(3)]))
    let outcome = try await warehouse.apply([
      WriteJob(
        id: "copy", sql: "INSERT INTO notes SELECT items, customer FROM events_orders", runs: [[]])
    ])
    guard case .applied(3) = outcome[0] else { return #expect(Bool(false), "\(outcome)") }
  }
}

/// Jobs and answers as JSON.
@Suite("Queued jobs")
struct QueuedJobTests {
  private func fault(_ text: String) -> String {
    do {
      _ = try QueuedJob(parsing: Array(text.utf8))
      return "no fault"
    } catch {
      return "\(error)"
    }
  }

  @Test func `a job is read as it was written`() throws {
    let job = QueuedJob(
      id: "a-1", sql: "INSERT INTO t VALUES (?, ?, ?)",
      runs: [
        [.int64(.max), .double(.nan), .timestamp(Timestamp(microseconds: 1_700_000_000_000_001))],
        [.null, .list(.double([1.5, 2])), .string("ü\"'")],
      ], responseKey: "duckdb_response:x", deadline: Timestamp(microseconds: 5_000), maxRows: 7)
    let read = try QueuedJob(parsing: job.json.utf8)
    #expect(read.json == job.json)
    #expect(read.runs[0][0] == .int64(.max))
    #expect(read.runs[0][2] == job.runs[0][2])
    #expect(read.deadline == job.deadline && read.maxRows == 7)
  }

  @Test(arguments: [
    ("nonsense", "not valid JSON"), ("[1]", "not a JSON object"), ("{}", "'id' must be"),
    (#"{"id":"a"}"#, "'sql' must be"), (#"{"id":7,"sql":"SELECT 1"}"#, "'id' must be"),
    (#"{"id":"a","sql":"SELECT 1","params":[]}"#, "'params' is unknown; known"),
    (#"{"id":"a","sql":"SELECT 1","parameters":[{"x":1}]}"#, "a parameter is neither"),
    (#"{"id":"a","sql":"SELECT 1","parameters":[],"rows":[]}"#, "either 'parameters' or 'rows'"),
    (
      #"{"id":"a","sql":"SELECT 1","response_key":"martlet:views"}"#, "begins with duckdb_response:"
    ),
    (#"{"id":"a","sql":"SELECT 1","deadline_ms":"soon"}"#, "'deadline_ms'"),
    (#"{"id":"a","sql":"SELECT 1","max_rows":0}"#, "'max_rows'"),
  ])
  func `what is no job is refused with what is wrong`(_ text: String, _ words: String) {
    #expect(fault(text).contains(words), "\(fault(text))")
  }

  @Test func `the sender of what is no job is found where it says so`() {
    let text = #"{"id":"a","response_key":"duckdb_response:b","sql":7}"#
    #expect(QueuedJob.sender(of: Array(text.utf8)).responseKey == "duckdb_response:b")
    let foreign = #"{"id":"a","response_key":"martlet:views","sql":7}"#
    #expect(QueuedJob.sender(of: Array(foreign.utf8)).responseKey == nil)
  }

  @Test func `an answer is read as it was written`() throws {
    let batch = ColumnBatch(columns: [
      Column(name: "n", values: .int64([.max, 0]), presence: [0, 1]),
      Column(name: "d", values: .double([.infinity, 0.1])),
      Column(name: "t", values: .timestamp([1_700_000_000_000_001, 0])),
      Column(name: "s", values: .string(["\u{1}\"", "ü"])),
      Column(
        name: "l", values: .list(ListValues(elements: .int64([1, 2, 3]), offsets: [0, 2, 3]))),
      Column(name: "b", values: .bool([true, false])),
    ])
    let (id, answer) = try #require(QueueAnswer.decode(QueueAnswer.rows(batch).encoded(id: "7")))
    guard case .rows(let read) = answer else { return #expect(Bool(false)) }
    #expect(id == "7")
    #expect(read == batch)
  }
}
