import Core

/// A record of the quarantine as it is kept.
package struct QuarantineEntry: Sendable, Decodable {
  package enum Status: String, Sendable, Codable, CaseIterable {
    case waiting, replayed, discarded
  }

  package var id: Int64
  package var source: String
  package var record: String?
  /// The bytes in hexadecimal, where `record` is not the same.
  package var raw: String?
  package var reason: String?
  package var kind: String?
  package var position: String?
  package var eventID: String?
  package var status: Status
  /// How often it was replayed, successfully or not.
  package var attempts: Int64
  package var quarantinedAt: Timestamp
  package var settledAt: Timestamp?

  enum CodingKeys: String, CodingKey {
    case id, source, record, raw, reason, kind, position, status, attempts
    case eventID = "event_id"
    case quarantinedAt = "quarantined_at"
    case settledAt = "settled_at"
  }

  /// The record as it came.
  package var bytes: [UInt8] {
    guard let raw else { return Array((record ?? "").utf8) }
    var bytes: [UInt8] = []
    var high: UInt8?
    for digit in raw.utf8 {
      guard let value = Character(Unicode.Scalar(digit)).hexDigitValue else { continue }
      if let first = high {
        bytes.append(first << 4 | UInt8(value))
        high = nil
      } else {
        high = UInt8(value)
      }
    }
    return bytes
  }
}

/// Which records are meant; everything that is given must hold.
package struct QuarantineFilter: Sendable {
  package var ids: [Int64]?
  package var source: String?
  /// A text in the reason, or a kind; upper and lower case are the same.
  package var reason: String?
  package var since: Timestamp?
  package var status: QuarantineEntry.Status?
  /// Only records with a smaller id.
  package var before: Int64?
  /// Only records with a greater id.
  package var after: Int64?

  package init(
    ids: [Int64]? = nil, source: String? = nil, reason: String? = nil, since: Timestamp? = nil,
    status: QuarantineEntry.Status? = nil, before: Int64? = nil, after: Int64? = nil
  ) {
    self.ids = ids
    self.source = source
    self.reason = reason
    self.since = since
    self.status = status
    self.before = before
    self.after = after
  }

  var condition: (sql: String, parameters: [Value]) {
    var parts: [String] = ["true"]
    var parameters: [Value] = []
    func add(_ sql: String, _ value: Value) {
      parts.append(sql)
      parameters.append(value)
    }
    if let ids {
      parts.append(
        ids.isEmpty ? "false" : "id IN (\(ids.map(String.init).joined(separator: ", ")))")
    }
    if let source { add("source = ?", .string(source)) }
    if let reason {
      add("(contains(lower(reason), lower(?)) OR kind = lower(?))", .string(reason))
      parameters.append(.string(reason))
    }
    if let since { add("quarantined_at >= ?", .timestamp(since)) }
    if let status { add("status = ?", .string(status.rawValue)) }
    if let before { add("id < ?", .int64(before)) }
    if let after { add("id > ?", .int64(after)) }
    return (parts.joined(separator: " AND "), parameters)
  }
}

/// The records that were kept aside: looked at, discarded, and dropped when there are too many.
package struct Quarantine: Sendable {
  /// How many were dropped, by why.
  package struct Dropped: Sendable, Equatable {
    package var byAge = 0
    package var byNumber = 0
  }

  private static let columns =
    "id, source, record, raw, reason, kind, position, event_id, status, attempts, quarantined_at, "
    + "settled_at"
  /// Rows that one transaction drops.
  private static let dropRows: Int64 = 50_000

  let warehouse: any Warehouse
  private let clock: any WallClock

  package init(warehouse: any Warehouse, clock: any WallClock) {
    self.warehouse = warehouse
    self.clock = clock
  }

  /// The records that the filter means, newest first or oldest first.
  package func list(
    _ filter: QuarantineFilter, limit: Int, oldestFirst: Bool = false
  ) async throws -> [QuarantineEntry] {
    let (condition, parameters) = filter.condition
    return try await warehouse.query(
      "SELECT \(Self.columns) FROM quarantine WHERE \(condition) "
        + "ORDER BY id \(oldestFirst ? "ASC" : "DESC") LIMIT \(max(0, limit))",
      parameters, as: QuarantineEntry.self)
  }

  package func entry(_ id: Int64) async throws -> QuarantineEntry {
    guard let found = try await list(QuarantineFilter(ids: [id]), limit: 1).first else {
      throw Self.unknown(id)
    }
    return found
  }

  static func unknown(_ id: Int64) -> PlatformError {
    PlatformError(
      .notFound, "there is no quarantined record \(id); `martlet quarantine list` shows them")
  }

  /// The greatest id; 0 where there is none.
  func lastID() async throws -> Int64 {
    try await warehouse.query("SELECT coalesce(max(id), 0) AS id FROM quarantine", as: Int64.self)
      .first ?? 0
  }

  /// Gives waiting records up; they are kept until retention drops them.
  package func discard(_ filter: QuarantineFilter) async throws -> Int {
    var filter = filter
    filter.status = .waiting
    let (condition, parameters) = filter.condition
    let now = clock.now
    return try await warehouse.transaction { appender in
      try appender.execute(
        "UPDATE quarantine SET status = 'discarded', settled_at = ? WHERE \(condition)",
        [.timestamp(now)] + parameters)
    }
  }

  /// The number of records by status.
  package func counts() async throws -> [QuarantineEntry.Status: Int] {
    struct Row: Decodable, Sendable {
      var status: QuarantineEntry.Status
      var records: Int
    }
    let rows = try await warehouse.query(
      "SELECT status, count(*) AS records FROM quarantine GROUP BY status", as: Row.self)
    return Dictionary(rows.map { ($0.status, $0.records) }, uniquingKeysWith: +)
  }

  /// Drops what is older than `age`, and the oldest beyond `records`; each transaction is bounded.
  package func drop(olderThan age: Span, beyond records: Int) async throws -> Dropped {
    var dropped = Dropped()
    let start = clock.now - age
    dropped.byAge = try await drop("quarantined_at < ?", [.timestamp(start)])
    let last = try await warehouse.query(
      "SELECT id FROM quarantine ORDER BY id DESC LIMIT 1 OFFSET \(max(0, records))", as: Int64.self
    )
    if let last = last.first { dropped.byNumber = try await drop("id <= ?", [.int64(last)]) }
    return dropped
  }

  private func drop(_ condition: String, _ parameters: [Value]) async throws -> Int {
    var total = 0
    while true {
      let count = try await warehouse.transaction { appender in
        try appender.execute(
          "DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine WHERE \(condition) "
            + "ORDER BY id LIMIT \(Self.dropRows))", parameters)
      }
      total += count
      if count < Self.dropRows { return total }
    }
  }
}
