import Core
import DuckDBBackend
import Foundation
import Synchronization
import Testing

/// A directory of its own for one test, removed with it.
final class ScratchDirectory: Sendable {
  let path: String

  init() throws {
    path =
      FileManager.default.temporaryDirectory.appendingPathComponent(
        "martlet-test-\(UUID().uuidString)"
      ).path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { "\(path)/\(name)" }

  @discardableResult
  func write(_ text: String, to name: String) throws -> String {
    try write(Data(text.utf8), to: name)
  }

  @discardableResult
  func write(_ data: Data, to name: String) throws -> String {
    try data.write(to: URL(fileURLWithPath: file(name)))
    return file(name)
  }
}

struct FixedClock: WallClock {
  var now = Timestamp(microseconds: 1_700_000_000_000_000)
}

let orders = SourceDefinition(
  name: "orders", eventTime: "ordered_at",
  columns: [
    ColumnDefinition(name: "customer", type: .string),
    ColumnDefinition(name: "items", type: .int64),
    ColumnDefinition(name: "amount", type: .double),
    ColumnDefinition(name: "gift", type: .bool),
    ColumnDefinition(name: "shipped_at", type: .timestamp),
  ])

/// Events of `orders`, numbered from `first`; every column is present.
func orderBatch(_ count: Int, from first: Int = 0) -> EventBatch {
  let rows = first..<first + count
  return EventBatch(
    source: "orders",
    columns: [
      Column(name: "customer", values: .string(rows.map { "customer-number-\($0 % 100)" })),
      Column(name: "items", values: .int64(rows.map { Int64($0) })),
      Column(name: "amount", values: .double(rows.map { Double($0) / 4 })),
      Column(name: "gift", values: .bool(rows.map { $0 % 3 == 0 })),
      Column(name: "shipped_at", values: .timestamp(rows.map { Int64($0) * 1_000 })),
    ],
    eventTimestamps: rows.map { Int64($0) * 1_000_000 },
    createdAt: rows.map { Int64($0) * 1_000_000 + 5 },
    sequences: rows.map { Int64($0) }, eventIDs: rows.map { "order-\($0)" })
}

/// All the batches of a query, joined.
func table(
  _ warehouse: any Warehouse, _ sql: String, _ parameters: [Value] = []
) async throws
  -> ColumnBatch
{
  let joined = Mutex<ColumnBatch?>(nil)
  try await warehouse.stream(sql, parameters) { batch in
    let batch = copy batch
    joined.withLock { joined in
      if joined == nil { joined = batch } else { joined?.append(contentsOf: batch) }
    }
  }
  return joined.withLock { $0 } ?? ColumnBatch(columns: [])
}

func rowCount(_ warehouse: any Warehouse, _ table: String = "events_orders") async throws -> Int {
  try await warehouse.query("SELECT count(*) FROM \(table)", as: Int.self).first ?? -1
}
