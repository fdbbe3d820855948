import CDuckDB
import Core

/// A connection, used by one thread at a time; only `interrupt` may be called from others.
final class DuckDBConnection: @unchecked Sendable {
  private var handle: duckdb_connection?
  private let database: DuckDBDatabase

  init(_ handle: duckdb_connection, of database: DuckDBDatabase) {
    self.handle = handle
    self.database = database
  }

  deinit { close() }

  func close() {
    guard handle != nil else { return }
    duckdb_disconnect(&handle)
    handle = nil
  }

  /// Connects anew after `DuckDBDatabase.reopen`.
  func renew() throws {
    close()
    handle = try database.newHandle()
  }

  /// Makes the running statement fail soon; does nothing where none runs.
  func interrupt() {
    if let handle { duckdb_interrupt(handle) }
  }

  /// The raw handle, valid while the connection is.
  func open() throws -> duckdb_connection {
    guard let handle else {
      throw PlatformError(.unavailable, "The warehouse is closed; start the platform again.")
    }
    return handle
  }

  /// Runs statements without parameters, several where they are separated by `;`, and drops their results.
  func run(_ sql: String, doing action: @autoclosure () -> String = "Warehouse statement") throws {
    var result = duckdb_result()
    defer { duckdb_destroy_result(&result) }
    if duckdb_query(try open(), sql, &result) != DuckDBSuccess {
      throw result.error(doing: action())
    }
  }

  /// Runs one statement with bound parameters and drops its result; returns how many rows it changed.
  @discardableResult
  func execute(_ sql: String, _ parameters: [Value] = []) throws -> Int {
    try withStatement(sql) { statement in
      try bind(parameters, to: statement)
      var result = duckdb_result()
      defer { duckdb_destroy_result(&result) }
      if duckdb_execute_prepared(statement, &result) != DuckDBSuccess {
        throw result.error(doing: "Warehouse statement")
      }
      return Int(duckdb_rows_changed(&result))
    }
  }

  /// Runs one statement, prepared once, for each set of parameters; returns how many rows each group of sets changed.
  ///
  /// - Parameter check: throws where statements of this kind are not to be run.
  func execute(
    _ sql: String, groups: [[[Value]]], check: (duckdb_statement_type) throws -> Void
  ) throws -> [Int] {
    try withStatement(sql) { statement in
      try check(duckdb_prepared_statement_type(statement))
      return try groups.map { runs in
        try runs.reduce(0) { changed, parameters in
          try bind(parameters, to: statement)
          var result = duckdb_result()
          defer { duckdb_destroy_result(&result) }
          if duckdb_execute_prepared(statement, &result) != DuckDBSuccess {
            throw result.error(doing: "The statement")
          }
          return changed + Int(duckdb_rows_changed(&result))
        }
      }
    }
  }

  /// Runs one statement and hands its rows over batch by batch while it is still running.
  ///
  /// - Parameter check: throws where statements of this kind are not to be run.
  func stream(
    _ sql: String, _ parameters: [Value], check: (duckdb_statement_type) throws -> Void = { _ in },
    _ body: (borrowing ColumnBatch) throws -> Void
  ) throws {
    try withStatement(sql) { statement in
      try check(duckdb_prepared_statement_type(statement))
      try bind(parameters, to: statement)
      var result = duckdb_result()
      defer { duckdb_destroy_result(&result) }
      if duckdb_execute_prepared_streaming(statement, &result) != DuckDBSuccess {
        throw result.error(doing: "Query")
      }
      let decoder = try ChunkDecoder(&result)
      while true {
        var chunk = duckdb_fetch_chunk(result)
        guard chunk != nil else { break }
        defer { duckdb_destroy_data_chunk(&chunk) }
        let batch = try decoder.decode(chunk)
        if batch.count > 0 { try body(batch) }
      }
      if let text = duckdb_result_error(&result), text.pointee != 0 {
        throw result.error(doing: "Query")
      }
    }
  }

  /// Like `Warehouse.query`, for use on this connection's thread.
  func query<Row: Decodable>(
    _ sql: String, _ parameters: [Value] = [], as type: Row.Type = Row.self
  ) throws -> [Row] {
    var rows: [Row] = []
    try stream(sql, parameters) { rows += try RowDecoder($0).decode(type) }
    return rows
  }

  /// Runs `body` between BEGIN and COMMIT; any failure rolls back and is rethrown.
  func transaction<Output>(readOnly: Bool = false, _ body: () throws -> Output) throws -> Output {
    try run(readOnly ? "BEGIN TRANSACTION READ ONLY" : "BEGIN TRANSACTION", doing: "Begin")
    do {
      let output = try body()
      try run("COMMIT", doing: "Commit")
      return output
    } catch {
      // An interrupt may hit the rollback itself, but only once; after a failed COMMIT there is nothing left to roll back.
      do { try run("ROLLBACK") } catch { try? run("ROLLBACK") }
      throw error
    }
  }

  func withStatement<Output>(
    _ sql: String, _ body: (duckdb_prepared_statement) throws -> Output
  ) throws -> Output {
    var statement: duckdb_prepared_statement?
    defer { duckdb_destroy_prepare(&statement) }
    guard duckdb_prepare(try open(), sql, &statement) == DuckDBSuccess, let statement else {
      let message = duckdb_prepare_error(statement).map { String(cString: $0) } ?? "unknown error"
      throw PlatformError.duckDB(DUCKDB_ERROR_BINDER, message, doing: "Query")
    }
    return try body(statement)
  }

  private func bind(_ parameters: [Value], to statement: duckdb_prepared_statement) throws {
    let expected = duckdb_nparams(statement)
    guard Int(expected) == parameters.count else {
      throw PlatformError(
        .invalidArgument,
        "The query has \(expected) parameters, \(parameters.count) were given; write one `?` for each."
      )
    }
    for (offset, value) in parameters.enumerated() {
      let index = idx_t(offset + 1)
      let state =
        switch value {
        case .null: duckdb_bind_null(statement, index)
        case .bool(let value): duckdb_bind_boolean(statement, index, value)
        case .int64(let value): duckdb_bind_int64(statement, index, value)
        case .double(let value): duckdb_bind_double(statement, index, value)
        case .string(let value):
          duckdb_bind_varchar_length(statement, index, value, idx_t(value.utf8.count))
        case .timestamp(let value):
          duckdb_bind_timestamp(statement, index, duckdb_timestamp(micros: value.microseconds))
        case .list(let elements): bindList(elements, to: statement, at: index)
        }
      guard state == DuckDBSuccess else {
        throw PlatformError(
          .invalidArgument, "Parameter \(index) of the query could not be bound; check its type.")
      }
    }
  }
}

private func bindList(
  _ elements: ColumnValues, to statement: duckdb_prepared_statement, at index: idx_t
) -> duckdb_state {
  var type = CellType(ColumnType(elements.type.scalar)).makeLogicalType()
  defer { duckdb_destroy_logical_type(&type) }
  var values: [duckdb_value?] = elements.scalars.map { element in
    switch element {
    case .bool(let value): duckdb_create_bool(value)
    case .int64(let value): duckdb_create_int64(value)
    case .double(let value): duckdb_create_double(value)
    case .string(let value): duckdb_create_varchar_length(value, idx_t(value.utf8.count))
    case .timestamp(let value):
      duckdb_create_timestamp(duckdb_timestamp(micros: value.microseconds))
    case .null, .list: duckdb_create_null_value()
    }
  }
  defer { for place in values.indices { duckdb_destroy_value(&values[place]) } }
  var list = duckdb_create_list_value(type, &values, idx_t(values.count))
  defer { duckdb_destroy_value(&list) }
  return duckdb_bind_value(statement, index, list)
}

extension duckdb_result {
  mutating func error(doing action: String) -> PlatformError {
    let message = duckdb_result_error(&self).map { String(cString: $0) } ?? "unknown error"
    return .duckDB(duckdb_result_error_type(&self), message, doing: action)
  }
}
