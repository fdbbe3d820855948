import Core

/// One time that a source's transform columns were computed anew, a row of the table `recomputations` (semantics §9).
///
/// What the events had before is kept in the table `replaced_cells_<number>`; until it is in force, what they are to have is in
/// `staged_cells_<number>`.
package struct Recomputation: Sendable, Equatable {
  /// In the order of time, over all sources.
  package var number: Int64
  package var source: String
  /// The job that does it.
  var job: String
  var version: TransformVersion
  /// The columns whose cells it writes: those that the code makes, and those that former code made.
  var columns: [String] = []
  /// Events that happened in `[from, to)`; nil is no bound.
  var from: Timestamp?
  var to: Timestamp?
  /// The last sequence when it began: later events are computed only where other code made them.
  var through: Int64
  /// The sequence up to which cells are staged.
  var staged: Int64 = 0
  var rows: Int64 = 0
  /// Events for which the code raised, which stay as they are.
  var failed: Int64 = 0
  /// When it came in force; nil while it is being made.
  package var inForceSince: Timestamp?

  static func stagedTable(_ number: Int64) -> String { "staged_cells_\(number)" }
  static func replacedTable(_ number: Int64) -> String { "replaced_cells_\(number)" }

  package init(
    number: Int64, source: String, job: String, version: TransformVersion,
    columns: [String] = [], from: Timestamp? = nil, to: Timestamp? = nil, through: Int64,
    inForceSince: Timestamp? = nil
  ) {
    self.number = number
    self.source = source
    self.job = job
    self.version = version
    self.columns = columns
    self.from = from
    self.to = to
    self.through = through
    self.inForceSince = inForceSince
  }

  var stagedTable: String { Self.stagedTable(number) }
  var replacedTable: String { Self.replacedTable(number) }
}

extension [Recomputation] {
  /// The number of the last that was in force at a time; 0 where none was.
  func last(by time: Timestamp) -> Int64 {
    last { one in one.inForceSince.map { $0 <= time } ?? false }?.number ?? 0
  }
}

extension Recomputation: Decodable {
  enum CodingKeys: String, CodingKey {
    case number, source, job, transform, digest, made, columns, through, staged, rows, failed
    case from = "first_event"
    case to = "end_event"
    case inForceSince = "in_force_since"
  }

  package init(from decoder: any Decoder) throws {
    let row = try decoder.container(keyedBy: CodingKeys.self)
    number = try row.decode(Int64.self, forKey: .number)
    source = try row.decode(String.self, forKey: .source)
    job = try row.decode(String.self, forKey: .job)
    let made = ColumnList.names(try row.decode(String.self, forKey: .made)) ?? []
    version = TransformVersion(
      transform: try row.decode(String.self, forKey: .transform),
      digest: try row.decode(String.self, forKey: .digest),
      // Not known before the code has answered for some event.
      columns: made.isEmpty ? nil : made)
    columns = ColumnList.names(try row.decode(String.self, forKey: .columns)) ?? []
    from = try row.decodeIfPresent(Timestamp.self, forKey: .from)
    to = try row.decodeIfPresent(Timestamp.self, forKey: .to)
    through = try row.decode(Int64.self, forKey: .through)
    staged = try row.decode(Int64.self, forKey: .staged)
    rows = try row.decode(Int64.self, forKey: .rows)
    failed = try row.decode(Int64.self, forKey: .failed)
    inForceSince = try row.decodeIfPresent(Timestamp.self, forKey: .inForceSince)
  }
}

/// Names of columns, as one cell of a table has them.
enum ColumnList {
  static func text(_ names: [String]) -> String { JSON.array(names.map { .string($0) }).text }

  static func names(_ text: String) -> [String]? {
    (try? JSON(parsing: Array(text.utf8)))?.array?.compactMap(\.string)
  }
}
