import Core

/// What the database service answers to a job, as JSON.
package enum QueueAnswer: Sendable {
  case rows(ColumnBatch)
  /// - Parameter before: the job had been applied when it came before.
  case changed(rows: Int, before: Bool)
  case failed(PlatformError)

  /// The text of an answer.
  package func encoded(id: String) -> [UInt8] {
    var bytes: [UInt8] = Array("{".utf8)
    JSON.writeMember("id", .string(id), into: &bytes)
    switch self {
    case .rows(let batch):
      JSON.writeMember("ok", .bool(true), into: &bytes)
      JSON.writeMember("row_count", .int64(Int64(batch.count)), into: &bytes)
      bytes.append(contentsOf: ",\"columns\":[".utf8)
      for (index, column) in batch.columns.enumerated() {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        QueueAnswer.write(column, into: &bytes)
      }
      bytes.append(UInt8(ascii: "]"))
    case .changed(let rows, let before):
      JSON.writeMember("ok", .bool(true), into: &bytes)
      JSON.writeMember("rows_changed", .int64(Int64(rows)), into: &bytes)
      JSON.writeMember("applied_before", .bool(before), into: &bytes)
    case .failed(let error):
      JSON.writeMember("ok", .bool(false), into: &bytes)
      bytes.append(contentsOf: ",\"error\":{".utf8)
      JSON.writeMember("code", .string(error.code.rawValue), into: &bytes)
      JSON.writeMember("message", .string(error.description), into: &bytes)
      JSON.writeMember("retryable", .bool(error.retryable), into: &bytes)
      if let wait = error.retryAfter {
        JSON.writeMember("retry_after_ms", .int64(wait.microseconds / 1_000), into: &bytes)
      }
      bytes.append(UInt8(ascii: "}"))
    }
    bytes.append(UInt8(ascii: "}"))
    return bytes
  }

  private static func write(_ column: Column, into bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "{"))
    JSON.writeMember("name", .string(column.name), into: &bytes)
    JSON.writeMember("type", .string(column.type.rawValue), into: &bytes)
    bytes.append(contentsOf: ",\"values\":[".utf8)
    for row in 0..<column.count {
      if row > 0 { bytes.append(UInt8(ascii: ",")) }
      JSON.write(column[row], into: &bytes)
    }
    bytes.append(contentsOf: "]}".utf8)
  }

  /// Reads an answer; nil for what is none.
  package static func decode(_ bytes: [UInt8]) -> (id: String, answer: QueueAnswer)? {
    guard let json = try? JSON(parsing: bytes), let id = json["id"]?.string,
      let isGood = json["ok"]?.bool
    else { return nil }
    if !isGood { return (id, .failed(failure(json["error"]))) }
    if let rows = json["rows_changed"]?.int {
      return (id, .changed(rows: Int(rows), before: json["applied_before"]?.bool ?? false))
    }
    guard let columns = json["columns"]?.array, let count = json["row_count"]?.int,
      let all = try? columns.map({ try column($0, count: Int(count)) })
    else { return nil }
    return (id, .rows(ColumnBatch(columns: all, count: Int(count))))
  }

  private static func failure(_ json: JSON?) -> PlatformError {
    PlatformError(
      json?["code"]?.string.flatMap { ErrorCode(rawValue: $0) } ?? .internalError,
      json?["message"]?.string ?? "the database service answered with an error that says nothing",
      retryable: json?["retryable"]?.bool ?? false,
      retryAfter: json?["retry_after_ms"]?.int.map { .milliseconds($0) })
  }

  private struct Malformed: Error {}

  private static func column(_ json: JSON, count: Int) throws -> Column {
    guard let name = json["name"]?.string,
      let type = json["type"]?.string.flatMap({ ColumnType(rawValue: $0) }),
      let values = json["values"]?.array, values.count == count
    else { throw Malformed() }
    return Column(name: name, type: type, try values.map { try cell($0, type) })
  }

  private static func cell(_ json: JSON, _ type: ColumnType) throws -> Value {
    switch (type, json) {
    case (_, .null): return .null
    case (.timestamp, .string(let text)): return .timestamp(try Timestamp(iso8601: text))
    case (.double, .string("NaN")): return .double(.nan)
    case (.double, .string("Infinity")): return .double(.infinity)
    case (.double, .string("-Infinity")): return .double(-.infinity)
    case (.array(let element, _), .array(let items)):
      let elements = Column(
        name: "", type: ColumnType(element), try items.map { try cell($0, ColumnType(element)) })
      return .list(elements.values)
    default:
      guard let value = json.scalar else { throw Malformed() }
      return value
    }
  }
}
