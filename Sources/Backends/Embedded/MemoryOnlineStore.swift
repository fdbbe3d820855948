import Core
import Dispatch
import Synchronization

/// The online store of a single process: states in memory, saved to and restored from a snapshot file.
///
/// Guarantees: those of `OnlineStore`; all events of one key in one write become visible together. A read waits at most
/// for the rows of a write that fall into the same sixteenth of the view. Nothing survives the process but the
/// snapshot.
package final class MemoryOnlineStore: SnapshottingOnlineStore {
  private let views = Mutex<[String: MemoryView]>([:])
  /// Files are written and read here, never on the threads that serve.
  private let disk = DispatchQueue(label: "martlet.online.snapshot")

  package init() {}

  package func prepare(_ layout: ViewLayout) async throws -> Bool {
    let view = MemoryView(layout)
    return views.withLock { views in
      guard views[layout.view]?.digest != view.digest else { return false }
      views[layout.view] = view
      return true
    }
  }

  package func apply(_ writes: [OnlineWrite], now: Timestamp) async throws {
    for write in writes {
      try view(write.view).apply(write, now: now)
    }
  }

  package func read(view name: String, keys: [EntityKey]) async throws -> [EntityState?] {
    let view = try view(name)
    if keys.count == 1 { return [view.state(of: keys[0])] }
    return keys.map { view.state(of: $0) }
  }

  package func remove(view name: String, keys: [EntityKey]) async throws {
    let view = try view(name)
    for key in keys { view.remove(key) }
  }

  package func drop(view: String) async throws {
    // The last reference frees every state: outside the lock.
    _ = views.withLock { $0.removeValue(forKey: view) }
  }

  package func counts() async throws -> [String: Int] {
    views.withLock { $0 }.mapValues(\.count)
  }

  package func capture(
    position: [String: Int64], views wanted: Set<String>?
  ) async throws -> any CapturedOnlineState {
    let captured = views.withLock { $0 }.filter { wanted?.contains($0.key) ?? true }.values
      .map { ($0.layout, $0.tables()) }
    return MemoryCapture(views: captured, position: position, disk: disk)
  }

  package func restoreSnapshot(from path: String) async throws -> [String: Int64] {
    let prepared = views.withLock { $0 }
    let file = await disk.run {
      MemorySnapshotReader.read(path, wanted: prepared.mapValues(\.layout))
    }
    views.withLock { views in
      for (name, restored) in file where views[name]?.digest == prepared[name]?.digest {
        views[name] = MemoryView(restored.layout, tables: restored.tables)
      }
    }
    return file.mapValues(\.position)
  }

  private func view(_ name: String) throws -> MemoryView {
    if let view = views.withLock({ $0[name] }) { return view }
    throw PlatformError(
      .failedPrecondition,
      "the online store has no view '\(name)': apply the definitions, or repeat the read if they just changed"
    )
  }
}

/// The states of one view, in shards that are locked one by one.
final class MemoryView: Sendable {
  static let shards = 16

  private final class Shard: Sendable {
    let table: Mutex<MemoryTable>
    init(_ table: MemoryTable) { self.table = Mutex(table) }
  }

  let layout: ViewLayout
  let digest: String
  private let blank: EntityState
  private let shards: [Shard]

  convenience init(_ layout: ViewLayout) {
    self.init(layout, tables: (0..<MemoryView.shards).map { _ in MemoryTable() })
  }

  init(_ layout: ViewLayout, tables: [MemoryTable]) {
    self.layout = layout
    digest = layout.stateDigest
    blank = EntityState(layout: layout)
    shards = tables.map(Shard.init)
  }

  static func shard(of key: EntityKey) -> Int {
    Int(truncatingIfNeeded: key.hashValue) & (shards - 1)
  }

  var count: Int { shards.reduce(0) { $0 + $1.table.withLock { $0.count } } }

  func state(of key: EntityKey) -> EntityState? {
    shards[MemoryView.shard(of: key)].table.withLock { $0.state(of: key) }
  }

  func remove(_ key: EntityKey) {
    shards[MemoryView.shard(of: key)].table.withLock { $0.remove(key, blank: blank) }
  }

  /// Every shard as it is now; a later write copies what it changes.
  func tables() -> [MemoryTable] { shards.map { $0.table.withLock { $0 } } }

  func apply(_ write: OnlineWrite, now: Timestamp) throws {
    guard write.latest.count == layout.latestColumns.count, write.slots.count == layout.slots.count,
      write.sketches.count == layout.sketches.count
    else {
      throw PlatformError(
        .internalError, "a write to view '\(write.view)' was made for another layout of the view")
    }
    let shared = MemoryWrite(write, layout: layout, blank: blank, now: now)
    if write.keys.count == 1 {
      shards[MemoryView.shard(of: write.keys[0])].table.withLock { $0.apply(shared, rows: [0]) }
      return
    }
    let (rows, ends) = rowsByShard(write.keys)
    var start = 0
    for shard in 0..<MemoryView.shards where ends[shard] > start {
      shards[shard].table.withLock { $0.apply(shared, rows: rows[start..<ends[shard]]) }
      start = ends[shard]
    }
  }

  /// The rows in the order of their shards, and where each shard's rows end.
  private func rowsByShard(_ keys: [EntityKey]) -> (rows: [Int32], ends: [Int]) {
    let shardOfRow = keys.map { UInt8(MemoryView.shard(of: $0)) }
    var next = [Int](repeating: 0, count: MemoryView.shards + 1)
    for shard in shardOfRow { next[Int(shard) + 1] += 1 }
    for shard in 0..<MemoryView.shards { next[shard + 1] += next[shard] }
    var rows = [Int32](repeating: 0, count: keys.count)
    for (row, shard) in shardOfRow.enumerated() {
      rows[next[Int(shard)]] = Int32(row)
      next[Int(shard)] += 1
    }
    // Each start has moved to its shard's end.
    return (rows, Array(next.dropLast()))
  }
}

extension DispatchQueue {
  /// Runs blocking work on this queue and waits for it without blocking the caller's thread.
  func run<Result: Sendable>(_ work: @escaping @Sendable () -> Result) async -> Result {
    await withCheckedContinuation { continuation in
      async { continuation.resume(returning: work()) }
    }
  }
}
