import Core
import Logging
import Metrics
import ServiceLifecycle
import Synchronization
import Workers

/// Predictions on their way to `model_logs`, behind a bounded buffer.
///
/// Guarantees: `record` never waits; a full buffer sheds the oldest and counts them; a failed write
/// is tried again and loses nothing that fits the buffer; after a clean stop nothing is missing.
package final class PredictionLog: Service, Sendable {
  /// Bounds and rhythm.
  package struct Room: Sendable {
    /// Rows that wait for the warehouse; more shed the oldest.
    package var bufferRows: Int
    /// After a kill at most this much of the log is missing.
    package var flushInterval: Span
    /// So many rows are written before the interval is over.
    package var flushRows: Int

    package init(
      bufferRows: Int = Limits.predictionLogRows, flushInterval: Span = .seconds(1),
      flushRows: Int = 2_000
    ) {
      self.bufferRows = max(1, bufferRows)
      self.flushInterval = flushInterval
      self.flushRows = max(1, flushRows)
    }
  }

  private static let pause = Span.milliseconds(50)
  private static let chunkRows = 10_000
  private static let lastTries = 5

  private let warehouse: any Warehouse
  private let room: Room
  private let clock: WorkerClock
  private let log: Logger
  private let buffer: Mutex<PredictionBuffer<PredictionRecord>>
  private let turn = Mutex(Turn())
  private let shed = Counter(label: "martlet_log_shed_total")
  private let written = Counter(label: "martlet_log_rows_total")

  package init(
    warehouse: any Warehouse, room: Room = Room(),
    log: Logger = Logger(label: "martlet.log"), clock: WorkerClock = .system
  ) {
    self.warehouse = warehouse
    self.room = room
    self.clock = clock
    self.log = log
    buffer = Mutex(PredictionBuffer(capacity: room.bufferRows))
    shed.increment(by: 0)
  }

  package func record(_ records: [PredictionRecord]) {
    let lost = buffer.withLock { $0.append(records) }
    if lost > 0 { shed.increment(by: lost) }
  }

  /// Rows that wait or are being written.
  package var waiting: Int { buffer.withLock { $0.count } }

  package func run() async throws {
    await cancelWhenGracefulShutdown { await self.flushUntilCancelled() }
    await finish()
  }

  private func flushUntilCancelled() async {
    var flushedAt = clock.now()
    var failures = 0
    while !Task.isCancelled {
      try? await clock.sleep(Self.pause)
      let waited = Span(microseconds: clock.now().microseconds - flushedAt.microseconds)
      // A warehouse that fails is left alone for longer and longer.
      let patience = Span(
        microseconds: room.flushInterval.microseconds << min(failures, 5))
      guard waited >= patience || (failures == 0 && waiting >= room.flushRows) else {
        continue
      }
      flushedAt = clock.now()
      do {
        try await flush()
        failures = 0
      } catch {
        failures += 1
        log.error(
          "cannot write the prediction log; it is kept and tried again: \(error)",
          metadata: ["rows": "\(waiting)"])
      }
    }
  }

  /// Writes everything that was recorded before the call.
  package func flush() async throws {
    await enter()
    defer { leave() }
    while true {
      let records = buffer.withLock { $0.take(Self.chunkRows) }
      if records.isEmpty { return }
      do {
        let batch = PredictionLogTable.batch(records)
        try await warehouse.commit(WarehouseCommit(rows: [(PredictionLogTable.name, batch)]))
        buffer.withLock { $0.finish(records.count) }
        written.increment(by: records.count)
      } catch {
        let lost = buffer.withLock { $0.putBack(records) }
        if lost > 0 { shed.increment(by: lost) }
        throw error
      }
    }
  }

  // One flush at a time: a second one returns when what the first has taken is stored, too.
  private struct Turn {
    var isTaken = false
    var waiting: [CheckedContinuation<Void, Never>] = []
  }

  private func enter() async {
    await withCheckedContinuation { continuation in
      let isFree = turn.withLock { turn in
        if turn.isTaken { turn.waiting.append(continuation) }
        defer { turn.isTaken = true }
        return !turn.isTaken
      }
      if isFree { continuation.resume() }
    }
  }

  private func leave() {
    let next = turn.withLock { turn in
      if turn.waiting.isEmpty {
        turn.isTaken = false
        return CheckedContinuation<Void, Never>?.none
      }
      return turn.waiting.removeFirst()
    }
    next?.resume()
  }

  /// The last flush, after everything that predicts has stopped.
  private func finish() async {
    for attempt in 1...Self.lastTries {
      do {
        return try await flush()
      } catch {
        log.error("cannot write the prediction log (try \(attempt)): \(error)")
        try? await clock.sleep(.milliseconds(200))
      }
    }
    log.error("predictions are missing in the log", metadata: ["rows": "\(waiting)"])
  }
}

/// A bounded queue that sheds its oldest; what was taken out counts until it is finished.
package struct PredictionBuffer<Element: Sendable>: Sendable {
  private var ring: [Element?]
  private var head = 0
  private var stored = 0
  private var taken = 0
  private let capacity: Int

  package init(capacity: Int) {
    self.capacity = capacity
    ring = []
  }

  package var count: Int { stored + taken }

  /// - Returns: how many of the oldest were shed.
  package mutating func append(_ elements: [Element]) -> Int {
    var shed = 0
    for element in elements {
      if stored >= ring.count { grow() }
      if stored == capacity {
        _ = removeFirst()
        shed += 1
      }
      ring[(head + stored) % ring.count] = element
      stored += 1
    }
    return shed
  }

  /// At most `limit` of the oldest, which stay counted until `finish` or `putBack`.
  package mutating func take(_ limit: Int) -> [Element] {
    var elements = [Element](reserving: min(limit, stored))
    while elements.count < limit, let element = removeFirst() { elements.append(element) }
    taken += elements.count
    return elements
  }

  package mutating func finish(_ count: Int) { taken -= count }

  /// Returns elements that could not be written to the front, the newest of them first as far as
  /// there is room.
  package mutating func putBack(_ elements: [Element]) -> Int {
    taken -= elements.count
    let room = min(capacity - stored, elements.count)
    for element in elements.suffix(room).reversed() {
      if stored >= ring.count { grow() }
      head = (head + ring.count - 1) % ring.count
      ring[head] = element
      stored += 1
    }
    return elements.count - room
  }

  private mutating func removeFirst() -> Element? {
    guard stored > 0 else { return nil }
    let element = ring[head]
    ring[head] = nil
    head = (head + 1) % ring.count
    stored -= 1
    return element
  }

  /// Doubles the room up to the capacity, so that an idle log takes no memory.
  private mutating func grow() {
    guard ring.count < capacity else { return }
    let old = (0..<stored).map { ring[(head + $0) % ring.count] }
    let room = min(capacity, max(64, ring.count * 2))
    ring = old + [Element?](repeating: nil, count: room - stored)
    head = 0
  }
}
