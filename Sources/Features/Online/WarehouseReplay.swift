import Core
import Dispatch
import Synchronization

/// Brings views of one source up to a position with the events that the warehouse has.
struct WarehouseReplay: Sendable {
  /// A view and the sequence up to which it is complete already.
  struct Target: Sendable {
    var layout: ViewLayout
    var after: Int64
  }

  /// Batches that may wait between the reader's thread and the store.
  private static let waitingBatches = 16

  let warehouse: any Warehouse
  let store: any OnlineStore

  /// The greatest sequence that a source ever had and how new its events are; nil for a source without events.
  func end(
    of source: String, now: Timestamp
  ) async throws -> (sequence: Int64, times: EventTimes)? {
    let found = Mutex<(sequence: Int64, times: EventTimes)?>(nil)
    try await warehouse.stream(
      """
      SELECT max(s) AS s, max(t) FILTER (WHERE t <= ?) AS p, max(t) AS t FROM (
        SELECT max(sequence) AS s, max(event_timestamp) AS t FROM \(table(source)) UNION ALL
        SELECT 0, max(event_timestamp) FROM \(table(source)) WHERE event_timestamp <= ? UNION ALL
        SELECT max(last_sequence), max(newest_event) FROM source_marks WHERE source = ?)
      """, [.timestamp(now), .timestamp(now), .string(source)]
    ) { batch in
      guard batch.count > 0, case .int64(let sequence) = batch.columns[0][0],
        case .timestamp = batch.columns[2][0]
      else { return }
      let times = [batch.columns[1][0], batch.columns[2][0]].compactMap(\.microseconds)
      found.withLock { $0 = (sequence, EventTimes(times, now: now.microseconds)) }
    }
    guard var end = found.withLock({ $0 }) else { return nil }
    try await addAhead(to: &end.times, in: source, where: "true", [], now)
    return end
  }

  /// By layout, how new the events of a range are that have a key of it.
  func times(
    in source: String, of layouts: [ViewLayout], from first: Int64, through last: Int64,
    now: Timestamp
  ) async throws -> [String: EventTimes] {
    let layouts = layouts.filter { $0.source == source }
    if layouts.isEmpty || first > last { return [:] }
    let columns = layouts.enumerated().map { index, layout in
      let filter = "max(event_timestamp) FILTER (WHERE \(Self.hasKey(layout))"
      return "\(filter) AND event_timestamp <= ?) AS p\(index), \(filter)) AS n\(index)"
    }
    let found = Mutex<[String: EventTimes]>([:])
    try await warehouse.stream(
      """
      SELECT \(columns.joined(separator: ", ")) FROM \(table(source)) \
      WHERE sequence >= ? AND sequence <= ?
      """, layouts.map { _ in .timestamp(now) } + [.int64(first), .int64(last)]
    ) { batch in
      guard batch.count > 0 else { return }
      for (index, layout) in layouts.enumerated() {
        let times = batch.columns[(2 * index)...(2 * index + 1)].compactMap { $0[0].microseconds }
        guard !times.isEmpty else { continue }
        found.withLock { $0[layout.view] = EventTimes(times, now: now.microseconds) }
      }
    }
    var times = found.withLock { $0 }
    for layout in layouts {
      guard var one = times[layout.view] else { continue }
      try await addAhead(
        to: &one, in: source, where: "\(Self.hasKey(layout)) AND sequence >= ? AND sequence <= ?",
        [.int64(first), .int64(last)], now)
      times[layout.view] = one
    }
    return times
  }

  /// Every event has the key of a view that has no key columns.
  private static func hasKey(_ layout: ViewLayout) -> String {
    (["true"] + layout.keyColumns.map { "\(EventTable.quoted($0)) IS NOT NULL" })
      .joined(separator: " AND ")
  }

  /// Adds the events that are dated ahead, where `times` says that there are any.
  private func addAhead(
    to times: inout EventTimes, in source: String, where condition: String, _ parameters: [Value],
    _ now: Timestamp
  ) async throws {
    guard let last = times.last, last > now.microseconds else { return }
    let found = Mutex<[Int64]>([])
    try await warehouse.stream(
      """
      SELECT min(event_timestamp) AS t FROM \(table(source)) \
      WHERE event_timestamp > ? AND \(condition) \
      GROUP BY epoch_us(event_timestamp) // 60000000 ORDER BY t LIMIT \(Limits.futureMinutes)
      """, [.timestamp(now)] + parameters
    ) { batch in
      let some = (0..<batch.count).compactMap { batch.columns[0][$0].microseconds }
      found.withLock { $0 += some }
    }
    times.merge(EventTimes(found.withLock { $0 }, now: now.microseconds))
  }

  /// Applies the events of each target's missing range, up to and including `last`; a store that keeps positions notes it.
  ///
  /// - Parameters:
  ///   - rows: an SQL condition on the source's columns that events must meet besides; positions are then left alone.
  ///   - inOrder: whether the store tells by the sequence what it has, though it keeps no positions.
  ///   - cells: what the events have; nil is what is in force.
  func run(
    _ source: SourceDefinition, targets: [Target], through last: Int64, now: Timestamp,
    only rows: (condition: String, parameters: [Value])? = nil, inOrder: Bool = false,
    cells: StoredCells? = nil
  ) async throws {
    guard let first = targets.map(\.after).min(), first < last else { return }
    let query = try await ReplayQuery(
      source, layouts: targets.map(\.layout), warehouse: warehouse,
      cells: cells ?? StoredCells(of: source.name))
    // A state does not depend on the order of its events, so the rows come in the order that is fastest to read; but a store that
    // tells by the sequence what it has takes them in that order.
    let positioned = rows == nil ? store as? any PositionedOnlineStore : nil
    let sql =
      query.sql + (rows.map { " AND \($0.condition)" } ?? "")
      + (positioned == nil && !inOrder ? "" : " ORDER BY sequence")
    let parameters = [.int64(first), .int64(last)] + (rows?.parameters ?? [])
    let (batches, channel) = AsyncStream<EventBatch>.makeStream()
    // Starts at zero and is raised: a semaphore must not end below the value that it was made with.
    let room = DispatchSemaphore(value: 0)
    for _ in 0..<WarehouseReplay.waitingBatches { room.signal() }
    let isStopped = Atomic<Bool>(false)
    async let reading: Void = {
      defer { channel.finish() }
      try await warehouse.stream(sql, parameters) { batch in
        let events = try query.events(of: batch)
        // Waits on the warehouse's own thread until the store has caught up.
        room.wait()
        if isStopped.load(ordering: .acquiring) { throw CancellationError() }
        channel.yield(events)
      }
    }()
    do {
      try await apply(batches, of: source.name, to: targets, positioned, now: now) { room.signal() }
    } catch {
      // The reader may be waiting for room: it is let go, and sees that it is to stop.
      isStopped.store(true, ordering: .releasing)
      room.signal()
      throw error
    }
    // Where a cancellation ended the loop early, the reader is not through yet.
    isStopped.store(true, ordering: .releasing)
    room.signal()
    try await reading
    guard let positioned else { return }
    for target in targets {
      try await positioned.complete(view: target.layout.view, stream: source.name, through: last)
    }
  }

  private func apply(
    _ batches: AsyncStream<EventBatch>, of source: String, to targets: [Target],
    _ positioned: (any PositionedOnlineStore)?, now: Timestamp, taken: () -> Void
  ) async throws {
    // Views that are complete up to the same position take the same rows.
    let groups = Dictionary(grouping: targets, by: \.after).mapValues { $0.map(\.layout) }
    for await batch in batches {
      taken()
      for (after, layouts) in groups {
        guard let rows = batch.rows(after: after) else { continue }
        let writes = OnlinePipeline.writes(for: rows, layouts: layouts)
        if let positioned {
          try await positioned.apply(writes, now: now, stream: source)
        } else {
          try await store.apply(writes, now: now)
        }
      }
    }
  }

  private func table(_ source: String) -> String { EventTable.quoted(EventTable.name(for: source)) }
}

/// Reads what some views need of the events of their source.
struct ReplayQuery: Sendable {
  private let source: SourceDefinition
  private let columns: [ColumnDefinition]
  /// Only a latest value tells an absent cell from a null one.
  private let absence: AbsenceMap?
  let sql: String

  init(
    _ source: SourceDefinition, layouts: [ViewLayout], warehouse: any Warehouse,
    cells: StoredCells
  ) async throws {
    var names = Set(layouts.flatMap { $0.keyColumns + $0.latestColumns.map(\.name) })
    for slot in layouts.flatMap(\.slots) {
      if let column = slot.column { names.insert(column) }
      names.formUnion(slot.filter?.names ?? [])
    }
    for sketch in layouts.flatMap(\.sketches) {
      names.formUnion([sketch.column] + (sketch.filter?.names ?? []))
    }
    self.source = source
    columns = source.columns.filter { names.contains($0.name) }
    let needsAbsence = layouts.contains { !$0.latestColumns.isEmpty }
    absence =
      needsAbsence
      ? try await AbsenceMap(source, in: warehouse).declaring(cells.declared) : nil
    var selected = columns.enumerated().map { index, column in
      "\(EventTable.quoted(column.name)) AS c\(index)"
    }
    selected += ["event_timestamp AS t", "created_at AS k", "sequence AS s"]
    if needsAbsence { selected.append("absent AS a") }
    sql = """
      SELECT \(selected.joined(separator: ", ")) FROM \(cells.table) \
      WHERE sequence > ? AND sequence <= ?
      """
  }

  /// The rows of one result batch as events, with the columns that the views need only and without ids.
  func events(of batch: borrowing ColumnBatch) throws -> EventBatch {
    var cells: [Column] = []
    for (index, column) in columns.enumerated() {
      var cell = batch.columns[index]
      cell.name = column.name
      cells.append(cell)
    }
    let sequences = try numbers(batch.columns[columns.count + 2])
    absence?.mark(&cells, bitmaps: batch.columns[columns.count + 3], sequences: sequences)
    return EventBatch(
      source: source.name, columns: cells,
      eventTimestamps: try numbers(batch.columns[columns.count]),
      createdAt: try numbers(batch.columns[columns.count + 1]), sequences: sequences, eventIDs: [])
  }

  private func numbers(_ column: Column) throws -> [Int64] {
    switch column.values {
    case .int64(let all), .timestamp(let all): return all
    default:
      throw PlatformError(
        .storage,
        "column '\(column.name)' of table events_\(source.name) is \(column.type.rawValue), not a time or whole number; the warehouse file is not one of Martlet's, or was changed by hand"
      )
    }
  }
}

extension ViewLayout {
  /// The SQL condition on events of keys; every event is about the one key of no columns.
  func rows(of keys: [EntityKey]) -> (condition: String, parameters: [Value]) {
    if keyColumns.isEmpty { return (keys.isEmpty ? "false" : "true", []) }
    let columns = keyColumns.map(EventTable.quoted).joined(separator: ", ")
    let row = "(\(keyColumns.map { _ in "?" }.joined(separator: ", ")))"
    let rows = keys.map { _ in row }.joined(separator: ", ")
    return (
      keys.isEmpty ? "false" : "(\(columns)) IN (\(rows))", keys.flatMap { $0.parts.map(\.value) }
    )
  }
}

extension Value {
  fileprivate var microseconds: Int64? {
    if case .timestamp(let time) = self { time.microseconds } else { nil }
  }
}
