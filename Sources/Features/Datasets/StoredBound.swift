import Core

/// How much of the stored events counts, so that what is stored later changes nothing.
package struct StoredBound: Sendable, Equatable {
  /// By source, the last sequence; a source that is not named has no bound.
  package var through: [String: Int64]
  /// The last `created_at`.
  package var knownAt: Timestamp?
  /// The last recomputation of transform columns; nil is all of them.
  package var recomputed: Int64?

  package init(
    through: [String: Int64], knownAt: Timestamp? = nil, recomputed: Int64? = nil
  ) {
    self.through = through
    self.recomputed = recomputed
    self.knownAt = knownAt
  }

  /// As an SQL condition on a source's table, to be put behind others.
  func condition(on source: String) -> (sql: String, parameters: [Value]) {
    var sql = ""
    var parameters: [Value] = []
    if let sequence = through[source] {
      sql += " AND sequence <= ?"
      parameters.append(.int64(sequence))
    }
    if let knownAt {
      sql += " AND created_at <= ?"
      parameters.append(.timestamp(knownAt))
    }
    return (sql, parameters)
  }
}

extension HistoryScan {
  /// The same history, of which only what lies within a bound is seen.
  package func within(_ bound: StoredBound?) -> HistoryScan {
    guard let bound else { return self }
    @Sendable func bounded(_ request: HistoryRequest) -> HistoryRequest {
      var request = request
      if let last = bound.through[request.source.name] { request.throughSequence = last }
      if let knownAt = bound.knownAt {
        request.knownThrough = min(request.knownThrough ?? knownAt, knownAt)
      }
      if let last = bound.recomputed { request.recomputed = min(request.recomputed ?? last, last) }
      return request
    }
    return HistoryScan(
      hasAbsentCells: { try await hasAbsentCells(bounded($0)) },
      stream: { try await stream(bounded($0), $1) }, recomputations: recomputations)
  }

  /// The same history with the cells that there were before later recomputations of transform columns.
  func recomputed(through number: Int64) -> HistoryScan {
    within(StoredBound(through: [:], recomputed: number))
  }
}
