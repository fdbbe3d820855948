import Core
import Synchronization

extension Warehouse {
  /// What tells this warehouse from others; a copy of its file has the same.
  func identity() async throws -> String {
    let found = Mutex("")
    try await stream("SELECT id FROM warehouse_identity", []) { batch in
      guard case .string(let ids) = batch.columns[0].values, let id = ids.first else { return }
      found.withLock { $0 = id }
    }
    return found.withLock { $0 }
  }

  /// When the newest stored event was learned; nil where no source has events.
  func lastStamp() async throws -> Timestamp? {
    let tables = Mutex<[String]>([])
    try await stream(
      "SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'events\\_%' ESCAPE '\\'", []
    ) { batch in
      guard case .string(let names) = batch.columns[0].values else { return }
      tables.withLock { $0 += names }
    }
    let last = Mutex<Int64?>(nil)
    for table in tables.withLock({ $0 }) {
      let name = table.replacing("\"", with: "\"\"")
      try await stream("SELECT max(created_at) AS stamp FROM \"\(name)\"", []) { batch in
        guard case .timestamp(let stamp) = batch.columns[0][0] else { return }
        last.withLock { $0 = max($0 ?? .min, stamp.microseconds) }
      }
    }
    return last.withLock { $0 }.map(Timestamp.init(microseconds:))
  }
}
