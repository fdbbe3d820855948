import Core
import DuckDBBackend
import Testing

@Suite("DuckDB result decoding")
struct DuckDBDecodingTests {
  let warehouse: DuckDBWarehouse

  init() throws { warehouse = try DuckDBWarehouse(path: nil) }

  @Test(arguments: [
    ("true", Value.bool(true)), ("(-7)::TINYINT", .int64(-7)), ("300::SMALLINT", .int64(300)),
    ("70000::INTEGER", .int64(70_000)), ("9e18::BIGINT", .int64(9_000_000_000_000_000_000)),
    ("200::UTINYINT", .int64(200)), ("60000::USMALLINT", .int64(60_000)),
    ("4000000000::UINTEGER", .int64(4_000_000_000)), ("5::UBIGINT", .int64(5)),
    ("18446744073709551615::UBIGINT", .double(18_446_744_073_709_551_616)),
    ("(-3)::HUGEINT", .int64(-3)), ("1e30::HUGEINT", .double(1e30)),
    ("12::UHUGEINT", .int64(12)), ("0.5::FLOAT", .double(0.5)), ("0.1::DOUBLE", .double(0.1)),
    ("12.34::DECIMAL(4,2)", .double(12.34)), ("-1.5::DECIMAL(9,3)", .double(-1.5)),
    ("123456.789::DECIMAL(18,3)", .double(123_456.789)), ("2.5::DECIMAL(38,10)", .double(2.5)),
    ("'short'", .string("short")),
    ("'longer than twelve bytes, ünïcode'", .string("longer than twelve bytes, ünïcode")),
    ("''", .string("")), ("'\\x01\\xAB'::BLOB", .string("01ab")),
    ("'b'::ENUM('a', 'b')", .string("b")),
    (
      "'4ac7a9e9-607c-4c8a-84f3-843f0191e3fd'::UUID",
      .string("4ac7a9e9-607c-4c8a-84f3-843f0191e3fd")
    ),
    ("DATE '1970-01-02'", .timestamp(Timestamp(microseconds: 86_400_000_000))),
    ("DATE '1969-12-31'", .timestamp(Timestamp(microseconds: -86_400_000_000))),
    ("TIMESTAMP '1970-01-01 00:00:01.5'", .timestamp(Timestamp(microseconds: 1_500_000))),
    ("TIMESTAMP_S '1970-01-01 00:00:02'", .timestamp(Timestamp(microseconds: 2_000_000))),
    ("TIMESTAMP_MS '1970-01-01 00:00:02.003'", .timestamp(Timestamp(microseconds: 2_003_000))),
    ("TIMESTAMP_NS '1970-01-01 00:00:00.000001999'", .timestamp(Timestamp(microseconds: 1))),
    ("TIMESTAMPTZ '1970-01-01 02:00:00+02'", .timestamp(Timestamp(microseconds: 0))),
    ("TIMESTAMPTZ '1970-07-01 02:00:00+02'::VARCHAR", .string("1970-07-01 00:00:00+00")),
    ("NULL", .null), ("NULL::VARCHAR", .null),
  ])
  func `a value of every type is brought to a column type`(
    sql: String, expected: Value
  )
    async throws
  {
    let read = try await table(warehouse, "SELECT \(sql) AS x")
    #expect(read.columns.first?[0] == expected)
  }

  @Test func `null cells hold zero values and presence says so, over many chunks`() async throws {
    let read = try await table(
      warehouse,
      "SELECT CASE WHEN i % 3 > 0 THEN i END AS a, CASE WHEN i >= 4096 THEN i / 2.0 END::DOUBLE AS b, i, "
        + "CASE WHEN i % 2 = 0 THEN 'text number ' || i END AS c FROM range(10000) t(i) ORDER BY i")
    let rows = 0..<10_000
    #expect(read["a"]?.values == .int64(rows.map { $0 % 3 > 0 ? Int64($0) : 0 }))
    #expect(read["a"]?.presence == rows.map { $0 % 3 > 0 ? 0 : 1 })
    #expect(read["b"]?.values == .double(rows.map { $0 >= 4_096 ? Double($0) / 2 : 0 }))
    #expect(read["b"]?.presence == rows.map { $0 >= 4_096 ? 0 : 1 })
    #expect(read["i"]?.presence == nil)
    #expect(read["c"]?.values == .string(rows.map { $0 % 2 == 0 ? "text number \($0)" : "" }))
  }

  @Test func `a nested type is refused with the column and what to write`() async throws {
    let error = await #expect(throws: PlatformError.self) {
      try await warehouse.stream("SELECT 1 AS a, {'x': 1} AS b", []) { _ in }
    }
    #expect(error?.code == .invalidArgument)
    #expect(error?.message.contains("CAST(\"b\" AS VARCHAR)") == true)
  }

  private struct Person: Decodable, Equatable {
    enum Kind: String, Decodable { case guest, member }
    var name: String
    var age: Int
    var score: Double
    var kind: Kind
    var joined: Timestamp?
    var active: Bool
    var visits: UInt16
  }

  @Test func `rows decode into types by column name`() async throws {
    let people = try await warehouse.query(
      """
      SELECT * FROM (VALUES ('Ann', 31::BIGINT, 3::BIGINT, 'guest', NULL::TIMESTAMP, true, 3::BIGINT),
        ('Bo', 40, 7, 'member', TIMESTAMP '1970-01-01 00:00:01', false, 9)) t(name, age, score, kind, joined, active, visits)
      """, as: Person.self)
    #expect(
      people == [
        Person(name: "Ann", age: 31, score: 3, kind: .guest, joined: nil, active: true, visits: 3),
        Person(
          name: "Bo", age: 40, score: 7, kind: .member, joined: Timestamp(microseconds: 1_000_000),
          active: false, visits: 9),
      ])
    #expect(
      try await warehouse.query("SELECT to_timestamp(1)", as: Timestamp.self)
        == [Timestamp(microseconds: 1_000_000)])
    #expect(try await warehouse.query("SELECT NULL::BIGINT", as: Int?.self) == [nil])
  }

  private struct Sized: Decodable { var size: Int8 }

  @Test(arguments: [
    ("SELECT 1 AS sise", "no column 'size'; did you mean 'sise'"),
    ("SELECT NULL::BIGINT AS size", "expected an integer (Int8), found null"),
    ("SELECT 'x' AS size", "found a value of type string"),
    ("SELECT 1000 AS size", "expected an integer (Int8)"),
  ])
  func `a row that does not fit says which column and why`(
    sql: String, message: String
  )
    async throws
  {
    let error = await #expect(throws: PlatformError.self) {
      _ = try await warehouse.query(sql, as: Sized.self)
    }
    #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
  }
}
