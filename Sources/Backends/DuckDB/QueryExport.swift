import CDuckDB
import Core
import Foundation

/// Writes the rows of a query to a file while they come, in the types that answers have: never more of them in memory than DuckDB
/// needs for the query itself.
struct QueryExport {
  let connection: DuckDBConnection
  let sql: String

  /// - Returns: how many rows the file has. Nothing is left of it where this throws.
  func run(to path: String, format: FileFormat) throws -> Int {
    // On its own it must be one query: then none of its text can end the parentheses that it is put into.
    let columns = try connection.columns(of: sql)
    let kind = format == .csv ? "(FORMAT csv, HEADER)" : "(FORMAT parquet, COMPRESSION zstd)"
    do {
      let counts = try connection.query(
        "COPY (\(selection(of: columns))) TO \(path.sqlLiteral) \(kind)", as: Int.self)
      return counts.first ?? 0
    } catch {
      try? FileManager.default.removeItem(atPath: path)
      throw error
    }
  }

  private func selection(of columns: [DuckDBConnection.ResultColumn]) -> String {
    let text = String(sql.reversed().drop { $0.isWhitespace || $0 == ";" }.reversed())
    if columns.isEmpty { return "\n\(text)\n" }
    var taken: Set<String> = []
    let selected = columns.enumerated().map { index, column in
      let cell = column.cast.map { "CAST(c\(index) AS \($0))" } ?? "c\(index)"
      return "\(cell) AS \(EventTable.quoted(Self.unique(column.name, &taken)))"
    }
    let aliases = columns.indices.map { "c\($0)" }.joined(separator: ", ")
    return "SELECT \(selected.joined(separator: ", ")) FROM (\n\(text)\n) AS result(\(aliases))"
  }

  /// A query may call two columns the same, a file may not; case does not tell them apart.
  private static func unique(_ name: String, _ taken: inout Set<String>) -> String {
    var chosen = name
    var number = 1
    while !taken.insert(chosen.lowercased()).inserted {
      chosen = "\(name)_\(number)"
      number += 1
    }
    return chosen
  }
}

extension DuckDBConnection {
  /// A column of a query's result.
  struct ResultColumn {
    var name: String
    /// The type that a file has it in, where that is another than its own.
    var cast: String?
  }

  /// The columns of a query, which is not run; empty where they are known only when it is. Throws where it is not one query.
  func columns(of sql: String) throws -> [ResultColumn] {
    try withStatement(sql) { statement in
      guard duckdb_prepared_statement_type(statement) == DUCKDB_STATEMENT_TYPE_SELECT else {
        throw PlatformError(
          .invalidArgument,
          "Only the rows of a query can be written (SELECT, WITH, FROM, DESCRIBE, SUMMARIZE), not what other statements answer."
        )
      }
      guard duckdb_nparams(statement) == 0 else {
        throw PlatformError(
          .invalidArgument, "The query has parameters, which cannot be given here; write values.")
      }
      // One column of no type stands for all where they are known only later.
      guard duckdb_prepared_statement_column_type(statement, 0) != DUCKDB_TYPE_INVALID else {
        return []
      }
      return (0..<duckdb_prepared_statement_column_count(statement)).map { index in
        let name = duckdb_prepared_statement_column_name(statement, index)
        defer { duckdb_free(UnsafeMutableRawPointer(mutating: name)) }
        var type = duckdb_prepared_statement_column_logical_type(statement, index)
        defer { duckdb_destroy_logical_type(&type) }
        return ResultColumn(
          name: name.map { String(cString: $0) } ?? "column\(index)", cast: Self.cast(of: type))
      }
    }
  }

  /// Files have the platform's types where there is one: whole numbers of 64 bits, or exactly where they do not fit; instants with a zone.
  private static func cast(of type: duckdb_logical_type?) -> String? {
    switch duckdb_get_type_id(type) {
    case DUCKDB_TYPE_TINYINT, DUCKDB_TYPE_SMALLINT, DUCKDB_TYPE_INTEGER, DUCKDB_TYPE_UTINYINT,
      DUCKDB_TYPE_USMALLINT, DUCKDB_TYPE_UINTEGER:
      return "BIGINT"
    case DUCKDB_TYPE_UBIGINT, DUCKDB_TYPE_HUGEINT, DUCKDB_TYPE_UHUGEINT: return "DECIMAL(38, 0)"
    case DUCKDB_TYPE_FLOAT: return "DOUBLE"
    case DUCKDB_TYPE_DATE, DUCKDB_TYPE_TIMESTAMP, DUCKDB_TYPE_TIMESTAMP_S,
      DUCKDB_TYPE_TIMESTAMP_MS, DUCKDB_TYPE_TIMESTAMP_NS:
      return "TIMESTAMPTZ"
    case DUCKDB_TYPE_UUID, DUCKDB_TYPE_ENUM, DUCKDB_TYPE_INTERVAL, DUCKDB_TYPE_TIME,
      DUCKDB_TYPE_TIME_TZ, DUCKDB_TYPE_TIME_NS, DUCKDB_TYPE_BIT, DUCKDB_TYPE_UNION:
      return "VARCHAR"
    case DUCKDB_TYPE_LIST, DUCKDB_TYPE_ARRAY:
      // Files have lists of one kind only: what DuckDB writes of a null array of one length others refuse to read.
      let isArray = duckdb_get_type_id(type) == DUCKDB_TYPE_ARRAY
      var child = isArray ? duckdb_array_type_child_type(type) : duckdb_list_type_child_type(type)
      defer { duckdb_destroy_logical_type(&child) }
      let element = cast(of: child)
      if !isArray { return element.map { "\($0)[]" } }
      return "\(element ?? plainName(of: child))[]"
    default: return nil
    }
  }

  private static func plainName(of type: duckdb_logical_type?) -> String {
    switch duckdb_get_type_id(type) {
    case DUCKDB_TYPE_BOOLEAN: "BOOLEAN"
    case DUCKDB_TYPE_BIGINT: "BIGINT"
    case DUCKDB_TYPE_DOUBLE: "DOUBLE"
    case DUCKDB_TYPE_BLOB: "BLOB"
    case DUCKDB_TYPE_TIMESTAMP_TZ: "TIMESTAMPTZ"
    default: "VARCHAR"
    }
  }
}
