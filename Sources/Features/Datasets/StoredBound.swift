import Core

/// How much of the stored events counts, so that what is stored later changes nothing.
package struct StoredBound: Sendable, Equatable {
  /// By source, the last sequence; a source that is not named has no bound.
  package var through: [String: Int64]
  /// The last `created_at`.
  package var knownAt: Timestamp?

  package init(through: [String: Int64], knownAt: Timestamp? = nil) {
    self.through = through
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
      request.throughSequence = bound.through[request.source.name]
      if let knownAt = bound.knownAt {
        request.knownThrough = min(request.knownThrough ?? knownAt, knownAt)
      }
      return request
    }
    return HistoryScan(
      hasAbsentCells: { try await hasAbsentCells(bounded($0)) },
      stream: { try await stream(bounded($0), $1) })
  }
}
