import Core

/// The keys that were erased, as digests: what keeps a replay of old input from bringing them back.
///
/// An event of an erased key is refused where its event time is not after the erase, or where it is one of the events that
/// were removed then, which only matters for those that were dated in the future. Other events of the key are new ones.
struct Tombstones: Sendable {
  private struct Group: Sendable {
    var columns: [String]
    /// A bit for each `KeyDigest.filter`.
    var filter = [UInt64](repeating: 0, count: 1_024)
    /// By digest, the latest erase in microseconds.
    var erasedAt: [String: Int64] = [:]
  }

  private let digests: KeyDigest
  private var groups: [Group] = []
  private var events: Set<String> = []

  init(salt: String) { digests = KeyDigest(salt: salt) }

  mutating func add(columns: [String], digest: String, filter: Int, erasedAt: Int64) {
    let place: Int
    if let found = groups.firstIndex(where: { $0.columns == columns }) {
      place = found
    } else {
      place = groups.count
      groups.append(Group(columns: columns))
    }
    groups[place].filter[(filter >> 6) & 1_023] |= 1 << UInt64(filter & 63)
    groups[place].erasedAt[digest] = max(groups[place].erasedAt[digest] ?? .min, erasedAt)
  }

  mutating func add(events digests: some Sequence<String>) { events.formUnion(digests) }

  /// The rows that are not to be stored.
  func refused(_ rows: ValidatedRows) -> [Int] {
    var refused: Set<Int> = []
    for group in groups {
      let columns = group.columns.compactMap { name in rows.columns.first { $0.name == name } }
      guard columns.count == group.columns.count else { continue }
      let keys = EntityKey.keys(of: columns, count: rows.count)
      for row in keys.indices {
        guard let key = keys[row], let erasedAt = erasedAt(key, group) else { continue }
        if rows.eventTimestamps[row] <= erasedAt
          || events.contains(
            digests.digest(ofEvent: rows.eventIDs[row], source: rows.source.name))
        {
          refused.insert(row)
        }
      }
    }
    return refused.sorted()
  }

  private func erasedAt(_ key: EntityKey, _ group: Group) -> Int64? {
    let filter = digests.filter(of: key, columns: group.columns)
    guard group.filter[(filter >> 6) & 1_023] & (1 << UInt64(filter & 63)) != 0 else { return nil }
    return group.erasedAt[digests.digest(of: key, columns: group.columns)]
  }

  /// Whether a record must not even be kept in quarantine: a JSON object that names an erased key, and no later time.
  func refuses(_ record: QuarantinedRecord, of source: SourceDefinition) -> Bool {
    guard let json = try? JSON(parsing: Array(record.record.utf8)), case .object = json else {
      return false
    }
    let time = json[source.eventTime]?.string.flatMap { try? Timestamp(iso8601: $0) }
    return groups.contains { group in
      let parts = group.columns.map { name in
        json[name].flatMap { Self.part($0, source.column(name)?.type) } ?? .null
      }
      guard let key = EntityKey(parts), let erasedAt = erasedAt(key, group) else { return false }
      return time.map { $0.microseconds <= erasedAt } ?? true
    }
  }

  private static func part(_ json: JSON, _ type: ColumnType?) -> Value? {
    switch (json, type) {
    case (.string(let text), .int64): Int64(text).map { .int64($0) }
    case (.double(let number), .int64): Int64(exactly: number).map { .int64($0) }
    case (.int(let number), .string): .string(String(number))
    default: json.scalar
    }
  }
}

extension Tombstones {
  private struct Erased: Decodable, Sendable {
    var columns: String
    var digest: String
    var filter: Int
    var erasedAt: Timestamp

    enum CodingKeys: String, CodingKey {
      case columns = "key_columns"
      case digest, filter
      case erasedAt = "erased_at"
    }
  }

  /// Those that the warehouse keeps; nil where nothing was ever erased.
  static func read(_ warehouse: any Warehouse) async throws -> Tombstones? {
    let salt = try await warehouse.query("SELECT salt FROM erasure_salt LIMIT 1", as: String.self)
    guard let salt = salt.first else { return nil }
    var tombstones = Tombstones(salt: salt)
    let erased = try await warehouse.query(
      "SELECT key_columns, digest, filter, erased_at FROM erasures", as: Erased.self)
    for one in erased {
      tombstones.add(
        columns: Self.columns(one.columns), digest: one.digest, filter: one.filter,
        erasedAt: one.erasedAt.microseconds)
    }
    tombstones.add(
      events: try await warehouse.query("SELECT digest FROM erased_events", as: String.self))
    return tombstones
  }

  static func columns(_ json: String) -> [String] {
    ((try? JSON(parsing: Array(json.utf8)))?.array ?? []).compactMap(\.string)
  }
}
