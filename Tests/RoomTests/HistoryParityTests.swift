import Core
import EmbeddedBackend
import Features
import Testing

/// The online store, asked at the very instants of a spine, is the other half of semantics §8.
@Suite struct HistoryParityTests {
  @Test func `history as known equals online reads at the same instants`() async throws {
    let first = UInt64.random(in: 0...1_000_000_000)
    for seed in first..<first + 500 {
      let history = try HistoryCase(seed: seed)
      let set = try await PointInTimeJoin(history.scan(seed: seed)).run(
        spine: history.spine, time: "t", features: history.features, mode: .asKnown,
        snapshot: history.snapshot, withStatuses: true)
      for layout in history.snapshot.layouts.values {
        if let difference = try await difference(of: set, layout: layout, history) {
          Issue.record("seed \(seed), view \(layout.view): \(difference)")
          return
        }
      }
    }
  }

  /// Plays the events in the order of their arrival into a store and asks it at each spine row's
  /// time.
  private func difference(
    of set: TrainingSet, layout: ViewLayout, _ history: HistoryCase
  ) async throws -> String? {
    let store = MemoryOnlineStore()
    _ = try await store.prepare(layout)
    let reader = FeatureReader(layout, readers: Array(layout.readers.indices))
    var arriving = history.events.sorted { ($0.created, $0.sequence) < ($1.created, $1.sequence) }[
      ...]
    var rows: [(time: Timestamp, row: Int)] = []
    for row in 0..<history.spine.count {
      if case .timestamp(let time)? = history.spine["t"]?[row] { rows.append((time, row)) }
    }
    for (time, row) in rows.sorted(by: { $0.time < $1.time }) {
      while let event = arriving.first, event.created <= time.microseconds {
        arriving.removeFirst()
        let writes = OnlinePipeline.writes(for: history.batch([event]), layouts: [layout])
        try await store.apply(writes, now: Timestamp(microseconds: event.created))
      }
      guard let key = EntityKey(layout.keyColumns.map { history.spine[$0]?[row] ?? .null }) else {
        continue
      }
      let state = try await store.read(view: layout.view, keys: [key])[0]
      for (position, online) in reader.read(state, at: time).enumerated() {
        if case .derived = layout.readers[position].reader { continue }
        let name = FeatureName(view: layout.view, feature: layout.readers[position].name)
        let offline = set.columns[name.description]?[row] ?? .null
        let status = set.statuses?[name]?[row]
        if !isSame(offline, online.value) || status != online.status {
          return "\(name) in row \(row): \(offline) \(String(describing: status)), online \(online)"
        }
      }
    }
    return nil
  }
}
