import Core
import Dispatch
import Features
import Foundation
import Synchronization
import TestKit
import Testing

/// An order as a test thinks of it; nil outside is absent, `.null` an observed null.
struct Order: Sendable {
  var customer: Value
  var shop: Value
  var amount: Value?
  var kind: Value?
  var time: Int64
  var createdAt: Int64
  var sequence: Int64
}

/// A small shop: customers, their orders, and every kind of feature over them.
enum OnlineShop {
  static let base: Int64 = 1_700_000_000_000_000
  static let minute: Int64 = 60_000_000

  static let orders = SourceDefinition(
    name: "orders", eventTime: "at",
    columns: [
      ColumnDefinition(name: "customer", type: .string),
      ColumnDefinition(name: "note", type: .string),
      ColumnDefinition(name: "shop", type: .int64), ColumnDefinition(name: "amount", type: .double),
      ColumnDefinition(name: "kind", type: .string),
    ])

  static let customer = EntityDefinition(name: "client", key: ["customer"])
  static let pair = EntityDefinition(name: "pair", key: ["customer", "shop"])

  static func window(
    _ function: AggregateFunction, _ column: String?, where filter: String? = nil, _ length: Span
  ) throws -> FeatureKind {
    .window(
      WindowDefinition(
        function: function, column: column, filter: try filter.map { try Expression.parse($0) },
        length: length))
  }

  static func feature(
    _ name: String, _ kind: FeatureKind, _ type: ColumnType = .double
  ) -> FeatureDefinition {
    FeatureDefinition(name: name, kind: kind, type: type)
  }

  static func spend() throws -> ViewDefinition {
    ViewDefinition(
      name: "spend", entity: "client", source: "orders",
      features: [
        feature("last_amount", .latest(column: "amount", ttl: .hours(2))),
        feature("last_kind", .latest(column: "kind", ttl: nil), .string),
        feature("n_1h", try window(.count, nil, .hours(1)), .int64),
        feature("big_24h", try window(.count, nil, where: "amount > 50", .hours(24)), .int64),
        feature("big_sum_24h", try window(.sum, "amount", where: "amount > 50", .hours(24))),
        feature("mean_24h", try window(.mean, "amount", .hours(24))),
        feature("min_24h", try window(.min, "amount", .hours(24))),
        feature("max_3h", try window(.max, "amount", where: "kind == 'b'", .hours(3))),
        feature("count_amount_24h", try window(.count, "amount", .hours(24)), .int64),
        feature("share", .derived(try Expression.parse("big_24h / count_amount_24h"))),
        feature("twice_share", .derived(try Expression.parse("share * 2"))),
        feature("known", .derived(try Expression.parse("coalesce(last_amount, -1)"))),
        feature("across", .derived(try Expression.parse("n_1h + pairs.n_3h")), .int64),
      ])
  }

  static func pairs() throws -> ViewDefinition {
    ViewDefinition(
      name: "pairs", entity: "pair", source: "orders",
      features: [
        feature("n_3h", try window(.count, nil, .hours(3)), .int64),
        feature("last", .latest(column: "amount", ttl: nil)),
      ])
  }

  static func snapshot(version: Int64 = 1, views: [ViewDefinition]? = nil) throws -> Snapshot {
    Snapshot(
      version: version, definitionsVersion: version, definitionsDigest: "\(version)",
      projectDirectory: ".",
      project: ProjectDefinition(
        name: "shop", entities: [customer, pair], sources: [orders],
        views: try views ?? [spend(), pairs()]), models: [:])
  }

  static func batch(_ orders: [Order]) -> EventBatch {
    func column(_ name: String, _ type: ColumnType, _ cells: [Value?]) -> Column {
      var column = Column(name: name, type: type, cells.map { $0 ?? .null })
      if cells.contains(where: { $0 == nil }) {
        var presence = column.presence ?? [UInt8](repeating: 0, count: cells.count)
        for (row, cell) in cells.enumerated() where cell == nil {
          presence[row] = Presence.absent.rawValue
        }
        column.presence = presence
      }
      return column
    }
    return EventBatch(
      source: "orders",
      columns: [
        column("customer", .string, orders.map(\.customer)),
        column("note", .string, orders.map { _ in .string("unused") }),
        column("shop", .int64, orders.map(\.shop)), column("amount", .double, orders.map(\.amount)),
        column("kind", .string, orders.map(\.kind)),
      ], eventTimestamps: orders.map(\.time), createdAt: orders.map(\.createdAt),
      sequences: orders.map(\.sequence), eventIDs: orders.map { "e\($0.sequence)" })
  }

  /// Orders over two days: ties, corrections, late and future ones, nulls, absent cells, NaN.
  static func randomOrders(_ count: Int, using random: inout SeededGenerator) -> [Order] {
    (1...count).map { sequence in
      let time = base + Int64.random(in: 0..<(48 * 60), using: &random) * minute
      let amounts: [Value?] = [
        nil, .null, .double(.nan), .double(50), .double(0),
        .double(.random(in: -10...100, using: &random)),
        .double(.random(in: -10...100, using: &random)),
        .double(.random(in: -10...100, using: &random)),
      ]
      let kinds: [Value?] = [nil, .null, .string("a"), .string("b"), .string("")]
      return Order(
        customer: Int.random(in: 0..<20, using: &random) == 0
          ? .null : .string("c\(Int.random(in: 0..<4, using: &random))"),
        shop: Int.random(in: 0..<20, using: &random) == 0
          ? .null : .int64(Int64.random(in: 0..<3, using: &random)),
        amount: amounts.randomElement(using: &random) ?? nil,
        kind: kinds.randomElement(using: &random) ?? nil, time: time,
        createdAt: time + Int64.random(in: 0..<2, using: &random), sequence: Int64(sequence))
    }
  }
}

/// What features must be, by plain loops over all orders, straight from the rules.
struct OrderOracle {
  var orders: [Order]
  var time: Int64

  private static let hour = 60 * OnlineShop.minute

  private func window(
    _ known: [Order], hours: Int64, resolutionMinutes: Int64, where filter: (Order) -> Bool
  ) -> [Order] {
    let start = time - hours * Self.hour
    let step = resolutionMinutes * OnlineShop.minute
    let floor = start - ((start % step) + step) % step
    return known.filter { $0.time >= floor && $0.time <= time && filter($0) }
  }

  private static func amount(_ order: Order) -> Double? {
    guard case .double(let amount)? = order.amount, !amount.isNaN else { return nil }
    return amount
  }

  private func newest(_ known: [Order], _ cell: KeyPath<Order, Value?>) -> Order? {
    known.filter { $0[keyPath: cell] != nil }
      .max { ($0.time, $0.createdAt, $0.sequence) < ($1.time, $1.createdAt, $1.sequence) }
  }

  private func latest(
    _ known: [Order], _ cell: KeyPath<Order, Value?>, ttlHours: Int64? = nil
  ) -> (FeatureStatus, Value, Int64?) {
    guard let order = newest(known, cell), let value = order[keyPath: cell] else {
      return (.notFound, .null, nil)
    }
    if let ttlHours, order.time < time - ttlHours * Self.hour {
      return (.expired, .null, order.time)
    }
    return (value.isNull ? .null : .present, value, order.time)
  }

  /// Status, value and time of the stored features of `spend`, in the view's order.
  func spend(_ customer: Value) -> [(FeatureStatus, Value, Int64?)] {
    let known = orders.filter { $0.customer == customer && $0.time <= time }
    let last = known.map(\.time).max()
    func aggregate(_ value: Value) -> (FeatureStatus, Value, Int64?) {
      (known.isEmpty ? .notFound : value.isNull ? .null : .present, value, last)
    }
    func isBig(_ order: Order) -> Bool { Self.amount(order).map { $0 > 50 } ?? false }
    let hour = window(known, hours: 1, resolutionMinutes: 1) { _ in true }
    let big = window(known, hours: 24, resolutionMinutes: 60, where: isBig)
    let amounts = window(known, hours: 24, resolutionMinutes: 60) { _ in true }.compactMap(
      Self.amount)
    let threeHours = window(known, hours: 3, resolutionMinutes: 5) { $0.kind == .string("b") }
    let mean = amounts.isEmpty ? Value.null : .double(amounts.reduce(0, +) / Double(amounts.count))
    return [
      latest(known, \.amount, ttlHours: 2), latest(known, \.kind),
      aggregate(.int64(Int64(hour.count))), aggregate(.int64(Int64(big.count))),
      aggregate(.double(big.compactMap(Self.amount).reduce(0, +))), aggregate(mean),
      aggregate(amounts.min().map { .double($0) } ?? .null),
      aggregate(threeHours.compactMap(Self.amount).max().map { .double($0) } ?? .null),
      aggregate(.int64(Int64(amounts.count))),
    ]
  }

  /// Status, value and time of the features of `pairs`.
  func pairs(_ customer: Value, _ shop: Value) -> [(FeatureStatus, Value, Int64?)] {
    let known = orders.filter { $0.customer == customer && $0.shop == shop && $0.time <= time }
    let recent = window(known, hours: 3, resolutionMinutes: 5) { _ in true }
    return [
      (known.isEmpty ? .notFound : .present, .int64(Int64(recent.count)), known.map(\.time).max()),
      latest(known, \.amount),
    ]
  }
}

/// Whether a value is the expected one; sums and means to 1e-9 relative, NaN as itself.
func isNearly(_ found: Value, _ expected: Value) -> Bool {
  guard case .double(let a) = found, case .double(let b) = expected else {
    return found == expected
  }
  return a == b || a.isNaN && b.isNaN || abs(a - b) <= 1e-9 * max(1, abs(b))
}

// MARK: A warehouse in memory

/// Event tables in memory, with as much of SQL as reading events back needs.
final class EventTablesInMemory: Warehouse {
  private struct State {
    var batches: [EventBatch] = []
    var prepared: [String] = []
    var failure: PlatformError?
  }

  private let state = Mutex(State())
  private let reader = DispatchQueue(label: "test.warehouse")

  var prepared: [String] { state.withLock { $0.prepared } }

  /// The next reads throw it.
  func fail(with error: PlatformError?) { state.withLock { $0.failure = error } }

  func prepare(_ sources: [SourceDefinition]) async throws {
    state.withLock { $0.prepared += sources.map(\.name) }
  }

  func commit(_ commit: WarehouseCommit) async throws {
    state.withLock { $0.batches += commit.events }
  }

  func transaction<Result: Sendable>(
    _ body: @escaping @Sendable (any WarehouseAppender) throws -> Result
  ) async throws -> Result { throw PlatformError(.internalError, "not part of this test") }

  func execute(_ sql: String, _ parameters: [Value]) async throws {}

  func close() async throws {}

  func stream(
    _ sql: String, _ parameters: [Value],
    _ body: @escaping @Sendable (borrowing ColumnBatch) throws -> Void
  ) async throws {
    let (batches, failure) = state.withLock { ($0.batches, $0.failure) }
    if let failure { throw failure }
    if ["SELECT max(", "SELECT min("].contains(where: sql.hasPrefix) {
      return try body(Self.newest(sql, parameters, of: batches))
    }
    let selected = batches
    let outcome: Result<Void, any Error> = await withCheckedContinuation { continuation in
      reader.async {
        continuation.resume(
          returning: Result {
            for batch in selected where sql.contains("events_\(batch.source)\"") {
              try body(Self.select(sql, parameters, from: batch))
            }
          })
      }
    }
    try outcome.get()
  }

  /// How new the events of a whole table are, by the time that comes first among the parameters: the greatest of what has
  /// come by then and of all, or what is dated later.
  private static func newest(
    _ sql: String, _ parameters: [Value], of batches: [EventBatch]
  ) -> ColumnBatch {
    let times = batches.flatMap(\.eventTimestamps)
    guard case .timestamp(let now)? = parameters.first else { return ColumnBatch(columns: []) }
    if sql.hasPrefix("SELECT min(") {
      let later = times.filter { $0 > now.microseconds }.sorted()
      return ColumnBatch(columns: [Column(name: "t", values: .timestamp(later))])
    }
    func cell(_ time: Int64?) -> Value {
      time.map { .timestamp(Timestamp(microseconds: $0)) } ?? .null
    }
    let list = sql.dropFirst("SELECT ".count).prefix(
      upTo: sql.range(of: " FROM ")?.lowerBound ?? sql.endIndex)
    return ColumnBatch(
      columns: list.split(separator: ", ").map { item in
        if item.hasPrefix("max(s)") {
          let last = batches.flatMap(\.sequences).max()
          return Column(name: "s", type: .int64, [last.map { .int64($0) } ?? .null])
        }
        let come = item.contains("<= ?") ? times.filter { $0 <= now.microseconds } : times
        return Column(name: "t", type: .timestamp, [cell(come.max())])
      })
  }

  /// `SELECT expression AS name, … FROM …`, over the sequences after the first parameter and through the second.
  private static func select(
    _ sql: String, _ parameters: [Value], from batch: EventBatch
  ) -> ColumnBatch {
    var rows = Array(0..<batch.count)
    if case .int64(let first)? = parameters.first, case .int64(let last)? = parameters.last {
      rows = rows.filter { batch.sequences[$0] > first && batch.sequences[$0] <= last }
    }
    let list = sql.dropFirst("SELECT ".count).prefix(
      upTo: sql.range(of: " FROM ")?.lowerBound ?? sql.endIndex)
    let columns = list.split(separator: ", ").map { item -> Column in
      let parts = item.components(separatedBy: " AS ")
      let column =
        switch parts[0] {
        case "event_timestamp":
          Column(name: "", values: .timestamp(batch.eventTimestamps)).gather(rows)
        case "created_at": Column(name: "", values: .timestamp(batch.createdAt)).gather(rows)
        case "sequence": Column(name: "", values: .int64(batch.sequences)).gather(rows)
        case "absent": bitmaps(of: batch).gather(rows)
        default: stored(batch, parts[0].replacing("\"", with: "")).gather(rows)
        }
      return Column(name: parts[1], values: column.values, presence: column.presence)
    }
    return ColumnBatch(columns: columns)
  }

  /// A column as the table has it: null where it was absent.
  private static func stored(_ batch: EventBatch, _ name: String) -> Column {
    var column = batch[name] ?? Column(name: name, nulls: batch.count, of: .string)
    column.presence = column.presence?.map { min($0, 1) }
    return column
  }

  private static func bitmaps(of batch: EventBatch) -> Column {
    Column(
      name: "absent", type: .string,
      (0..<batch.count).map { row in
        let bits = batch.columns.enumerated().reduce(0) { bits, column in
          column.element.presence(at: row) == .absent ? bits | 1 << column.offset : bits
        }
        return bits == 0
          ? .null : .string((bits < 16 ? "0" : "") + String(bits, radix: 16, uppercase: true))
      })
  }
}
