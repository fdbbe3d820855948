import CDuckDB
import Core

/// Keeps statements of other processes to rows and tables.
///
/// It does not follow SQL's grammar but looks for words in the whole text, texts and comments included: what it refuses too much is
/// written another way (as a parameter), and there is no form of quoting in which it overlooks something.
struct StatementGuard: Sendable {
  /// Functions that only make rows out of their arguments, or list what is in the catalog.
  private static let harmless: Set<String> = [
    "range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree",
    "summary", "icu_calendar_names", "pg_timezone_names", "pragma_table_info", "pragma_version",
    "duckdb_tables", "duckdb_columns", "duckdb_views", "duckdb_types", "duckdb_keywords",
  ]
  /// Functions beside those that make tables which do something, or let text become SQL.
  private static let acting: Set<String> = [
    "write_log", "getenv", "json_execute_serialized_sql", "set_config",
  ]
  /// Tables in which the warehouse notes what it has done.
  private static let ownTables: Set<String> = [
    "applied_jobs", "schema_migrations", "stream_offsets", "event_columns", "ingested_files",
    "erasures", "erased_events", "erasure_salt", "source_marks", "transform_versions",
    "view_builds", "warehouse_identity", "recomputations",
  ]
  /// Tables and views that everybody may read and only the platform fills.
  private static let filledByPlatform: Set<String> = [
    "quarantine", "model_logs", "drift_scores", "labels", "jobs_history", "model_metadata",
    "datasets", "features_table", "registry_versions", "registry_features",
  ]
  /// What may be made, changed and dropped. A function would answer in the stead of the engine's own of that name, and a
  /// temporary table hide one of the warehouse.
  private static let ownObjects: Set<String> = ["table", "view", "sequence", "index"]

  /// How tables begin that it makes as it needs them.
  private static let ownPrefixes = ["staged_cells_", "replaced_cells_"]
  /// How the names begin by which the engine shows its catalog: one made by that name would be read in its stead.
  private static let enginePrefixes = [
    "duckdb_", "sqlite_", "pg_", "information_schema", "pragma_",
  ]

  private let forbidden: Set<String>

  /// Asks the engine which functions make tables: whatever it has that is not known to be harmless is refused.
  init(_ connection: DuckDBConnection) throws {
    let functions = try connection.query(
      "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE function_type = 'table'",
      as: String.self)
    forbidden = Set(functions).subtracting(Self.harmless).union(Self.acting)
  }

  enum Purpose {
    case reading, writing

    /// What a statement may begin with. Its kind is told by the engine only once it was planned, and planning an EXPORT makes
    /// its folder already.
    fileprivate var beginnings: Set<String> {
      switch self {
      case .reading:
        [
          "select", "with", "from", "values", "describe", "desc", "summarize", "show", "pivot",
          "table",
        ]
      case .writing: ["insert", "update", "delete", "merge", "create", "alter", "drop", "with"]
      }
    }

    fileprivate var kinds: [duckdb_statement_type] {
      switch self {
      case .reading: [DUCKDB_STATEMENT_TYPE_SELECT]
      case .writing:
        [
          DUCKDB_STATEMENT_TYPE_INSERT, DUCKDB_STATEMENT_TYPE_UPDATE, DUCKDB_STATEMENT_TYPE_DELETE,
          DUCKDB_STATEMENT_TYPE_MERGE_INTO, DUCKDB_STATEMENT_TYPE_CREATE,
          DUCKDB_STATEMENT_TYPE_ALTER, DUCKDB_STATEMENT_TYPE_DROP,
        ]
      }
    }

    fileprivate var refusal: PlatformError {
      switch self {
      case .reading:
        StatementGuard.refusal(
          "only a SELECT can be run here (or WITH, FROM, DESCRIBE, SUMMARIZE, SHOW, which are one); begin with it"
        )
      case .writing:
        StatementGuard.refusal(
          "only INSERT, UPDATE, DELETE, MERGE, CREATE, ALTER and DROP can be run here; begin with one"
        )
      }
    }
  }

  /// Throws for a text that could do more than its purpose.
  func check(_ sql: String, for purpose: Purpose) throws {
    let words = Words(sql)
    guard let first = words.all.first, purpose.beginnings.contains(first.text) else {
      throw purpose.refusal
    }
    if words.hasEscapes {
      throw Self.refusal("U& is not taken here; write the characters themselves")
    }
    for word in words.all where forbidden.contains(word.text) && words.mayBeCalled(word) {
      throw Self.refusal(
        "the function \(word.text) is not available here; only tables of the warehouse can be used")
    }
  }

  /// Throws for a text that would change what only the platform may.
  ///
  /// - Parameter eventTables: their names, lower case.
  func checkTargets(
    _ sql: String, _ kind: duckdb_statement_type, eventTables: Set<String>
  ) throws {
    let words = Words(sql)
    if let own = words.all.first(where: { Self.isOwn($0.text) }) {
      throw Self.refusal("the table \(own.text) is the platform's own")
    }
    try checkObject(words, kind)
    let takesFrom = [
      DUCKDB_STATEMENT_TYPE_INSERT, DUCKDB_STATEMENT_TYPE_CREATE, DUCKDB_STATEMENT_TYPE_MERGE_INTO,
    ]
    let onlyTarget = takesFrom.contains(kind) && words.all.first?.text != "with"
    let named = onlyTarget ? words.target : words.all[...]
    let made = kind == DUCKDB_STATEMENT_TYPE_CREATE ? named : words.newName
    if let engine = made.first(where: { name in
      Self.enginePrefixes.contains { name.text.hasPrefix($0) }
    }) {
      throw Self.refusal("\(engine.text) is a name of the engine's own catalog; take another")
    }
    if let filled = named.first(where: { Self.filledByPlatform.contains($0.text) }) {
      throw Self.refusal(
        onlyTarget
          ? "the platform alone fills \(filled.text)"
          : "it names \(filled.text), which the platform alone fills; take from it with INSERT … SELECT or CREATE TABLE … AS"
      )
    }
    let events =
      onlyTarget
      ? named.first { $0.text.hasPrefix("events_") }
      : named.first { eventTables.contains($0.text) }
        ?? words.newName.first { $0.text.hasPrefix("events_") }
    if let events {
      throw Self.refusal(
        "\(events.text) is a name of events: push or ingest them, and use `martlet erase` or retention to remove some"
      )
    }
  }

  /// Throws where something is made, changed or dropped that is neither rows nor one of `ownObjects`.
  private func checkObject(_ words: Words, _ kind: duckdb_statement_type) throws {
    let kinds = [
      DUCKDB_STATEMENT_TYPE_CREATE, DUCKDB_STATEMENT_TYPE_ALTER, DUCKDB_STATEMENT_TYPE_DROP,
    ]
    guard kinds.contains(kind) else { return }
    let between: Set<String> = ["or", "replace", "unique"]
    let object = words.all.dropFirst().first { !between.contains($0.text) }
    guard let object, Self.ownObjects.contains(object.text) else {
      throw Self.refusal(
        "only tables, views, sequences and indexes can be made, changed and dropped, not '\(object?.text ?? "")'"
      )
    }
  }

  private static func isOwn(_ name: String) -> Bool {
    ownTables.contains(name) || ownPrefixes.contains { name.hasPrefix($0) }
  }

  static func refusal(_ what: String) -> PlatformError {
    PlatformError(.invalidArgument, "the statement is refused: \(what)")
  }

  /// Throws where the engine found the statement to be of another kind than it may be.
  static func check(_ kind: duckdb_statement_type, for purpose: Purpose) throws {
    guard purpose.kinds.contains(kind) else { throw purpose.refusal }
  }
}

/// The words of a text, lower case, with where each ends.
private struct Words {
  struct Word {
    var text: String
    var end: Int
  }

  private let bytes: [UInt8]
  private(set) var all: [Word] = []

  init(_ text: String) {
    bytes = Array(text.utf8)
    var start: Int?
    for index in 0...bytes.count {
      let isPart = index < bytes.count && Self.isPart(bytes[index])
      if isPart, start == nil { start = index }
      if !isPart, let begin = start {
        let text = String(decoding: bytes[begin..<index], as: UTF8.self).lowercased()
        all.append(Word(text: text, end: index))
        start = nil
      }
    }
  }

  private static func isPart(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "$"), 128...:
      true
    default: false
    }
  }

  /// Whether a name with escapes stands somewhere, which would not be seen for what it is.
  var hasEscapes: Bool {
    all.contains {
      $0.text == "u" && $0.end + 1 < bytes.count && bytes[$0.end] == UInt8(ascii: "&")
        && [UInt8(ascii: "\""), UInt8(ascii: "'")].contains(bytes[$0.end + 1])
    }
  }

  /// The words up to the name of what an INSERT, CREATE or MERGE writes to.
  var target: ArraySlice<Word> {
    let stops: Set<String> = ["select", "values", "from", "as", "default", "using", "by"]
    let end = all.firstIndex { stops.contains($0.text) || mayBeCalled($0) }
    return all[...(end ?? all.count - 1)]
  }

  /// The words from RENAME on, among which is what something is called afterwards.
  var newName: ArraySlice<Word> {
    all.firstIndex { $0.text == "rename" }.map { all[$0...] } ?? []
  }

  /// Whether something follows that could be the opening of a call; a comment could hide one.
  func mayBeCalled(_ word: Word) -> Bool {
    var index = word.end
    while index < bytes.count, bytes[index] <= 32 || bytes[index] == UInt8(ascii: "\"") {
      index += 1
    }
    guard index < bytes.count else { return false }
    if bytes[index] == UInt8(ascii: "(") { return true }
    let next = index + 1 < bytes.count ? bytes[index + 1] : 0
    return bytes[index] == UInt8(ascii: "/") && next == UInt8(ascii: "*")
      || bytes[index] == UInt8(ascii: "-") && next == UInt8(ascii: "-")
  }
}
