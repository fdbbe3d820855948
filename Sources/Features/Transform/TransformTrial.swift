import Core
import Workers

/// A transform on a sample, of which nothing is stored.
package struct TransformTrial: Sendable {
  /// A record for which the function raised.
  package struct Failure: Sendable {
    package var position: String
    /// The record as JSON, as it went in.
    package var record: String
    package var error: String
    package var traceback: String
  }

  /// What the function returned under a name, and what is wrong with it.
  package struct ReturnedColumn: Sendable {
    package var name: String
    package var returned: ColumnType
    package var declared: ColumnType?
    package var problem: String?
  }

  /// One call of the function.
  package struct Call: Sendable {
    package var rows: Int
    /// In the function, without the way to the worker.
    package var compute: Span
  }

  package let function: CodeReference
  package private(set) var digest: String?
  package private(set) var rows = 0
  package private(set) var failures: [Failure] = []
  package private(set) var columns: [ReturnedColumn] = []
  package private(set) var calls: [Call] = []
  /// Records that failed validation, before the transform.
  package let invalid: [QuarantinedRecord]
  /// The first rows with every column that goes in, and what came out for them.
  package private(set) var before = ColumnBatch(columns: [])
  package private(set) var after = ColumnBatch(columns: [])

  /// Rows of one call.
  private static let callRows = 1_000
  /// Rows that are shown.
  private static let shownRows = 10

  /// Whether every record was transformed, into columns that the source declares.
  package var isGood: Bool { failures.isEmpty && columns.allSatisfy { $0.problem == nil } }

  /// Runs the source's transform; a failure of the function as a whole is thrown.
  package init(_ sample: ValidatedRows, with transform: WorkerTransform) async throws {
    guard let function = sample.source.transform else {
      throw PlatformError(
        .failedPrecondition,
        "source '\(sample.source.name)' has no transform; give it one in martlet.yaml and apply")
    }
    self.function = function
    invalid = sample.quarantined
    digest = try await transform.digest(of: function)
    var from = 0
    while from < sample.count {
      let to = min(from + Self.callRows, sample.count)
      let part = sample.keeping(Array(from..<to))
      let (outcome, compute) = try await transform.explain(
        ColumnBatch(columns: part.columns, count: part.count), with: function)
      note(outcome, of: part)
      calls.append(Call(rows: part.count, compute: compute))
      from = to
    }
  }

  private mutating func note(_ outcome: TransformOutcome, of part: ValidatedRows) {
    rows += part.count
    for (row, error) in outcome.errors.sorted(by: { $0.key < $1.key }) where row < part.count {
      failures.append(
        Failure(
          position: part.position(of: row), record: RecordText(part, row).text, error: error,
          traceback: outcome.tracebacks[row] ?? ""))
    }
    for column in outcome.rows.columns where !columns.contains(where: { $0.name == column.name }) {
      columns.append(Self.verdict(column, part, function))
    }
    if before.count == 0 {
      let shown = Array(0..<min(Self.shownRows, part.count))
      before = ColumnBatch(columns: part.columns.map { $0.gather(shown) }, count: shown.count)
      after = outcome.rows.gather(shown)
    }
  }

  private static func verdict(
    _ column: Column, _ part: ValidatedRows, _ function: CodeReference
  ) -> ReturnedColumn {
    let source = part.source
    let declared = source.columns.first { $0.name == column.name }?.type
    var problem: String?
    if let declared {
      if !column.fitted(to: declared).misfits.isEmpty {
        problem = "is \(column.type.rawValue) and declared as \(declared.rawValue)"
      } else if part.columns.contains(where: { $0.name == column.name && $0.hasCells }) {
        problem = "is a column of the records; return the result under a name of its own"
      }
    } else {
      problem =
        "is not declared\(suggestion(for: column.name, among: source.columns.map(\.name)))"
    }
    return ReturnedColumn(
      name: column.name, returned: column.type, declared: declared, problem: problem)
  }
}

extension ValidatedRows {
  /// Stored events as a sample, the newest first, as their records were.
  package static func stored(
    of source: SourceDefinition, atMost count: Int, in warehouse: any Warehouse
  ) async throws -> ValidatedRows {
    let table = EventTable.quoted(EventTable.name(for: source.name))
    let origins = try await CellOrigins(of: source.name, in: warehouse)
    let rows = try await StoredRows.read(
      source, earlier: origins.earlier,
      condition:
        "e.sequence IN (SELECT sequence FROM \(table) ORDER BY sequence DESC LIMIT \(count))",
      [], in: warehouse)
    let all = ValidatedRows(
      source: source, columns: origins.raw(rows).columns, eventTimestamps: rows.eventTimestamps,
      eventIDs: rows.eventIDs)
    return all.keeping((0..<rows.count).reversed())
  }
}

extension Column {
  /// Whether some record had it.
  fileprivate var hasCells: Bool { (0..<count).contains { presence(at: $0) != .absent } }
}
