import Core

/// A statement on its way through a queue of the database service, as JSON.
///
/// The form is documented in docs/guide/database-service.md; any program that can write JSON and talk to Redis may use it.
package struct QueuedJob: Sendable, Equatable {
  /// What every key for answers begins with, so that a job cannot have another key of the server overwritten.
  package static let responsePrefix = "duckdb_response:"
  private static let idCharacters = 200

  package var id: String
  package var sql: String
  /// One set of parameters a run; a read has one.
  package var runs: [[Value]]
  /// Where the answer goes; nil where nobody wants one.
  package var responseKey: String?
  /// After this time the job is not begun, and a read is ended.
  package var deadline: Timestamp?
  /// Rows that a read may answer.
  package var maxRows: Int?

  package init(
    id: String, sql: String, runs: [[Value]] = [[]], responseKey: String? = nil,
    deadline: Timestamp? = nil, maxRows: Int? = nil
  ) {
    self.id = id
    self.sql = sql
    self.runs = runs
    self.responseKey = responseKey
    self.deadline = deadline
    self.maxRows = maxRows
  }

  private static let keys = [
    "id", "sql", "parameters", "rows", "response_key", "deadline_ms", "max_rows",
  ]

  // MARK: Reading

  /// Reads a job; throws `.invalidArgument` that says what is wrong with it.
  package init(parsing bytes: [UInt8]) throws {
    guard bytes.count <= Limits.databaseJobBytes else {
      throw Self.fault("it has \(bytes.count) bytes; at most \(Limits.databaseJobBytes) are taken")
    }
    try self.init(JSON(parsing: bytes))
  }

  package init(_ json: JSON) throws {
    guard case .object(let members) = json else { throw Self.fault("it is not a JSON object") }
    for member in members where !Self.keys.contains(member.key) {
      throw Self.fault("'\(member.key)' is unknown\(suggestion(for: member.key, among: Self.keys))")
    }
    guard let id = json["id"]?.string, !id.isEmpty, id.count <= Self.idCharacters else {
      throw Self.fault("'id' must be a text of 1 to \(Self.idCharacters) characters")
    }
    guard let sql = json["sql"]?.string, !sql.isEmpty else {
      throw Self.fault("'sql' must be a statement")
    }
    self.init(id: id, sql: sql)
    runs = try Self.runs(json)
    if let key = json["response_key"] {
      guard let name = key.string, name.hasPrefix(Self.responsePrefix) else {
        throw Self.fault("'response_key' must be a text that begins with \(Self.responsePrefix)")
      }
      responseKey = name
    }
    if let time = json["deadline_ms"] {
      guard let milliseconds = time.int, (0...(Int64.max / 1_000)).contains(milliseconds) else {
        throw Self.fault("'deadline_ms' must be whole milliseconds since 1970, UTC")
      }
      deadline = Timestamp(microseconds: milliseconds * 1_000)
    }
    if let rows = json["max_rows"] {
      guard let count = rows.int, (1...Int64(Limits.databaseRows)).contains(count) else {
        throw Self.fault("'max_rows' must be 1 to \(Limits.databaseRows)")
      }
      maxRows = Int(count)
    }
  }

  /// The id and key for the answer of what is no valid job, so that its sender hears of it.
  package static func sender(of bytes: [UInt8]) -> (id: String, responseKey: String?) {
    guard let json = try? JSON(parsing: bytes) else { return ("", nil) }
    let key = json["response_key"]?.string
    return (
      String((json["id"]?.string ?? "").prefix(idCharacters)),
      key?.hasPrefix(responsePrefix) == true ? key : nil
    )
  }

  private static func runs(_ json: JSON) throws -> [[Value]] {
    switch (json["parameters"], json["rows"]) {
    case (nil, nil): return [[]]
    case (.some(let parameters), nil):
      guard let all = parameters.array else { throw fault("'parameters' must be an array") }
      return [try all.map { try value($0) }]
    case (nil, .some(let rows)):
      guard let all = rows.array, (1...Limits.databaseRows).contains(all.count) else {
        throw fault("'rows' must be an array of 1 to \(Limits.databaseRows) arrays of parameters")
      }
      return try all.map { row in
        guard let cells = row.array else { throw fault("'rows' must be an array of arrays") }
        return try cells.map { try value($0) }
      }
    case (.some, .some): throw fault("give either 'parameters' or 'rows'")
    }
  }

  /// A parameter: as JSON has it, or `{"timestamp": "…Z"}` and `{"double": "NaN"}` for what JSON has not.
  private static func value(_ json: JSON) throws -> Value {
    if let value = json.value { return value }
    if case .object(let members) = json, members.count == 1 {
      switch (members[0].key, members[0].value) {
      case ("timestamp", .string(let text)): return .timestamp(try Timestamp(iso8601: text))
      case ("double", .string("NaN")): return .double(.nan)
      case ("double", .string("Infinity")): return .double(.infinity)
      case ("double", .string("-Infinity")): return .double(-.infinity)
      default: break
      }
    }
    throw fault(
      "a parameter is neither null, bool, number, text, an array of those of one kind, {\"timestamp\": …} nor {\"double\": …}"
    )
  }

  private static func fault(_ what: String) -> PlatformError {
    PlatformError(.invalidArgument, "the job cannot be read: \(what)")
  }

  // MARK: Writing

  package var json: JSON {
    var members: [JSON.Member] = [.init("id", .string(id)), .init("sql", .string(sql))]
    if runs.count == 1 {
      members.append(.init("parameters", .array(runs[0].map { Self.json($0) })))
    } else {
      members.append(.init("rows", .array(runs.map { .array($0.map { Self.json($0) }) })))
    }
    if let responseKey { members.append(.init("response_key", .string(responseKey))) }
    if let deadline {
      members.append(.init("deadline_ms", .int(deadline.microseconds / 1_000)))
    }
    if let maxRows { members.append(.init("max_rows", .int(Int64(maxRows)))) }
    return .object(members)
  }

  private static func json(_ value: Value) -> JSON {
    switch value {
    case .timestamp(let time): .object(["timestamp": .string(time.description)])
    case .double(let number) where !number.isFinite:
      .object(["double": .string(number.isNaN ? "NaN" : number > 0 ? "Infinity" : "-Infinity")])
    default: JSON(value)
    }
  }
}
