import CDuckDB
import Core

/// Appends columns to one table inside the transaction that is open on a connection.
///
/// Rows are handed over in data chunks whose vectors are filled by copying memory; DuckDB casts where the table's type is another (a
/// string into a list, say). Columns of the table that the writer does not have get their default.
final class ChunkWriter {
  private var appender: duckdb_appender?
  private let table: String
  /// Reused for every chunk of the same types.
  private var chunk: duckdb_data_chunk?
  private var chunkTypes: [CellType] = []
  private let vectorSize = Int(duckdb_vector_size())

  init(table: String, columns: [String], on connection: DuckDBConnection) throws {
    self.table = table
    let state = duckdb_appender_create_ext(try connection.open(), nil, nil, table, &appender)
    guard state == DuckDBSuccess else {
      defer { duckdb_appender_destroy(&appender) }
      throw error("There is no table \(table) to append to")
    }
    for column in columns where duckdb_appender_add_column(appender, column) != DuckDBSuccess {
      defer { duckdb_appender_destroy(&appender) }
      throw error("Table \(table) has no column '\(column)'")
    }
  }

  deinit {
    duckdb_destroy_data_chunk(&chunk)
    // What was not closed is not wanted: without this, destroying flushes it.
    if appender != nil { duckdb_appender_clear(appender) }
    duckdb_appender_destroy(&appender)
  }

  /// Hands everything over to the transaction.
  func finish() throws {
    guard duckdb_appender_close(appender) == DuckDBSuccess else {
      throw error("Append to \(table)")
    }
  }

  func append(_ columns: [ColumnCells], count: Int) throws {
    guard columns.allSatisfy({ $0.covers(count) }) else {
      throw PlatformError(
        .internalError, "Append to \(table): a column has fewer cells than the batch has rows.")
    }
    let types = columns.map(\.type)
    if types != chunkTypes { makeChunk(types) }
    var row = 0
    while row < count {
      let rows = row..<min(row + vectorSize, count)
      duckdb_data_chunk_reset(chunk)
      for (index, column) in columns.enumerated() {
        column.fill(duckdb_data_chunk_get_vector(chunk, idx_t(index)), rows)
      }
      duckdb_data_chunk_set_size(chunk, idx_t(rows.count))
      guard duckdb_append_data_chunk(appender, chunk) == DuckDBSuccess else {
        throw error("Append to \(table)")
      }
      row = rows.upperBound
    }
  }

  private func makeChunk(_ types: [CellType]) {
    duckdb_destroy_data_chunk(&chunk)
    var logical = types.map { $0.makeLogicalType() }
    chunk = duckdb_create_data_chunk(&logical, idx_t(types.count))
    for index in logical.indices { duckdb_destroy_logical_type(&logical[index]) }
    chunkTypes = types
  }

  private func error(_ action: String) -> PlatformError {
    var data = duckdb_appender_error_data(appender)
    defer { duckdb_destroy_error_data(&data) }
    let message = duckdb_error_data_message(data).map { String(cString: $0) } ?? "unknown error"
    return .duckDB(duckdb_error_data_error_type(data), message, doing: action)
  }
}

/// What the cells of one vector are.
struct CellType: Equatable {
  enum Shape: Equatable {
    case single, list
    case array(Int)
  }

  var element: duckdb_type
  var shape = Shape.single

  init(_ element: duckdb_type) { self.element = element }

  init(_ type: ColumnType) {
    element =
      switch type.scalar {
      case .bool: DUCKDB_TYPE_BOOLEAN
      case .int64: DUCKDB_TYPE_BIGINT
      case .double: DUCKDB_TYPE_DOUBLE
      case .string: DUCKDB_TYPE_VARCHAR
      case .timestamp: DUCKDB_TYPE_TIMESTAMP
      }
    if case .array(_, let length) = type { shape = length.map { .array($0) } ?? .list }
  }

  /// To be destroyed by the caller.
  func makeLogicalType() -> duckdb_logical_type? {
    var element = duckdb_create_logical_type(element)
    switch shape {
    case .single: return element
    case .list:
      defer { duckdb_destroy_logical_type(&element) }
      return duckdb_create_list_type(element)
    case .array(let length):
      defer { duckdb_destroy_logical_type(&element) }
      return duckdb_create_array_type(element, idx_t(length))
    }
  }
}

/// One column on its way into a table.
enum ColumnCells {
  case column(Column)
  case timestamps([Int64])
  case int64([Int64])
  case strings([String])
  /// Nil where null.
  case blobs([[UInt8]?])
  case noBlobs

  var type: CellType {
    switch self {
    case .column(let column): CellType(column.type)
    case .timestamps: CellType(DUCKDB_TYPE_TIMESTAMP)
    case .int64: CellType(DUCKDB_TYPE_BIGINT)
    case .strings: CellType(DUCKDB_TYPE_VARCHAR)
    case .blobs, .noBlobs: CellType(DUCKDB_TYPE_BLOB)
    }
  }

  /// Whether there is a cell for each of `count` rows.
  func covers(_ count: Int) -> Bool {
    switch self {
    case .column(let column):
      column.count >= count && (column.presence.map { $0.count >= count } ?? true)
    case .timestamps(let values), .int64(let values): values.count >= count
    case .strings(let values): values.count >= count
    case .blobs(let values): values.count >= count
    case .noBlobs: true
    }
  }

  func fill(_ vector: duckdb_vector?, _ rows: Range<Int>) {
    switch self {
    case .column(let column):
      switch column.values {
      case .list(let lists): fill(lists, column.presence, vector, rows)
      default: fill(column.values, vector, rows)
      }
      if let presence = column.presence {
        markNulls(vector, rows) { presence[$0] != Presence.present.rawValue }
      }
    case .timestamps(let values), .int64(let values): copy(values, vector, rows)
    case .strings(let values): assign(values, vector, rows)
    case .blobs(let values):
      for row in rows {
        guard let bytes = values[row] else { continue }
        bytes.withUnsafeBytes {
          duckdb_vector_assign_string_element_len(
            vector, idx_t(row - rows.lowerBound),
            $0.baseAddress?.assumingMemoryBound(to: CChar.self),
            idx_t($0.count))
        }
      }
      markNulls(vector, rows) { values[$0] == nil }
    case .noBlobs: markNulls(vector, rows) { _ in true }
    }
  }

  private func fill(_ values: ColumnValues, _ vector: duckdb_vector?, _ rows: Range<Int>) {
    switch values {
    case .bool(let values): copy(values, vector, rows)
    case .int64(let values), .timestamp(let values): copy(values, vector, rows)
    case .double(let values): copy(values, vector, rows)
    case .string(let values): assign(values, vector, rows)
    case .list: break
    }
  }

  private func fill(
    _ lists: ListValues, _ presence: [UInt8]?, _ vector: duckdb_vector?, _ rows: Range<Int>
  ) {
    let elements = lists.offsets[rows.lowerBound]..<lists.offsets[rows.upperBound]
    if let length = lists.length {
      let child = duckdb_array_vector_get_child(vector)
      if elements.count == rows.count * length { return fill(lists.elements, child, elements) }
      // A null takes as much room as any other cell.
      let all = 0..<rows.count * length
      fill(lists.padded(rows), child, all)
      return markNulls(child, all) { lists.range(rows.lowerBound + $0 / length).isEmpty }
    }
    guard
      let entries = duckdb_vector_get_data(vector)?.assumingMemoryBound(
        to: duckdb_list_entry.self)
    else { return }
    for row in rows {
      let range = lists.range(row)
      entries[row - rows.lowerBound] = duckdb_list_entry(
        offset: UInt64(range.lowerBound - elements.lowerBound), length: UInt64(range.count))
    }
    duckdb_list_vector_reserve(vector, idx_t(elements.count))
    duckdb_list_vector_set_size(vector, idx_t(elements.count))
    fill(lists.elements, duckdb_list_vector_get_child(vector), elements)
  }

  private func copy<T: BitwiseCopyable>(_ values: [T], _ vector: duckdb_vector?, _ rows: Range<Int>)
  {
    guard let target = duckdb_vector_get_data(vector) else { return }
    values.withUnsafeBufferPointer { source in
      guard let base = source.baseAddress else { return }
      target.copyMemory(
        from: base + rows.lowerBound, byteCount: rows.count * MemoryLayout<T>.stride)
    }
  }

  private func assign(_ values: [String], _ vector: duckdb_vector?, _ rows: Range<Int>) {
    for row in rows {
      var text = values[row]
      // A Swift string is valid UTF-8, so DuckDB need not check it again.
      text.withUTF8 { bytes in
        bytes.withMemoryRebound(to: CChar.self) {
          duckdb_unsafe_vector_assign_string_element_len(
            vector, idx_t(row - rows.lowerBound), $0.baseAddress, idx_t($0.count))
        }
      }
    }
  }

  private func markNulls(_ vector: duckdb_vector?, _ rows: Range<Int>, _ isNull: (Int) -> Bool) {
    guard rows.contains(where: isNull) else { return }
    duckdb_vector_ensure_validity_writable(vector)
    guard let mask = duckdb_vector_get_validity(vector) else { return }
    for row in rows where isNull(row) {
      let position = row - rows.lowerBound
      mask[position >> 6] &= ~(1 << UInt64(position & 63))
    }
  }
}
