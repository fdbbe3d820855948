import Core

/// A row of a file as the JSON record that `RecordParser` reads back as the same event.
///
/// Text of a CSV file is written as the column's type where it is one, and as text where it is not, so that correcting
/// what is wrong is enough. Local times stay local.
struct RecordText {
  let text: String

  init(_ source: SourceDefinition, _ raw: RawRows, _ row: Int) {
    var json = Array("{".utf8)
    for column in raw.columns {
      let name = column.name
      if let broken = raw.brokenLists[name]?[row] {
        Self.writeMember(name, written: broken, into: &json)
        continue
      }
      let type = source.column(name)?.type ?? column.type
      if case .string(let text) = column[row], type.isArray, Self.isArray(text) {
        Self.writeMember(name, written: text, into: &json)
        continue
      }
      let isLocal = raw.localTimes.contains(name)
      JSON.writeMember(name, Self.cell(column[row], as: type, isLocal: isLocal), into: &json)
    }
    json.append(UInt8(ascii: "}"))
    text = String(decoding: json, as: UTF8.self)
  }

  /// Of validated rows, with the event time and id where they are no columns.
  init(_ rows: ValidatedRows, _ row: Int) {
    var json = Array("{".utf8)
    for column in rows.columns where column.presence(at: row) != .absent {
      JSON.writeMember(column.name, column[row], into: &json)
    }
    let source = rows.source
    if source.column(source.eventTime) == nil {
      let time = Timestamp(microseconds: rows.eventTimestamps[row])
      JSON.writeMember(source.eventTime, .timestamp(time), into: &json)
    }
    let id = rows.eventIDs[row]
    if let name = source.eventID, source.column(name) == nil, eventIDFault(id) == nil {
      JSON.writeMember(name, .string(id), into: &json)
    }
    json.append(UInt8(ascii: "}"))
    text = String(decoding: json, as: UTF8.self)
  }

  /// A member whose value is JSON already.
  private static func writeMember(_ name: String, written: String, into json: inout [UInt8]) {
    if json.count > 1 { json.append(UInt8(ascii: ",")) }
    JSON.write(name, into: &json)
    json.append(UInt8(ascii: ":"))
    json.append(contentsOf: written.utf8)
  }

  private static func isArray(_ text: String) -> Bool {
    guard let json = try? JSON(parsing: Array(text.utf8)) else { return false }
    return json.array != nil
  }

  private static func cell(_ value: Value, as type: ColumnType, isLocal: Bool) -> Value {
    switch value {
    case .timestamp(let time) where isLocal: return .string(local(time))
    case .list(.timestamp(let times)) where isLocal:
      return .list(.string(times.map { local(Timestamp(microseconds: $0)) }))
    case .string(var text):
      let read: Value? = text.withUTF8 { bytes in
        switch type {
        case .double: (DecimalNumber(text: bytes)?.double).map { .double($0) }
        case .int64: DecimalNumber(text: bytes)?.integral.map { .int64($0) }
        case .bool: bool(of: bytes).map { .bool($0) }
        case .string, .timestamp, .array: nil
        }
      }
      return read ?? value
    default: return value
    }
  }

  private static func local(_ time: Timestamp) -> String {
    let text = time.description
    return text.hasSuffix("Z") ? String(text.dropLast()) : text
  }
}
