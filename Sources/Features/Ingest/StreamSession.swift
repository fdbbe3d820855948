import Core
import Logging
import Metrics
import Synchronization

/// One membership of a group: what was read in it, and what of that is on its way.
///
/// One task begins, submits and ends; deliveries settle beside it.
final class StreamSession: Sendable {
  /// A batch on its way to both stores.
  struct Delivery: Sendable {
    var tickets: [IngestTicket]
    var offsets: [StreamOffset]
  }

  fileprivate struct State {
    var positions = StreamPositions()
    var records: StreamRecords
    var counters: [String: Counter] = [:]
    var hasStored = false
  }

  let stream: any EventStream
  private let ingestor: Ingestor
  private let definitions: Published<Snapshot>
  private let applied: AppliedOffsets
  private let group: (any GroupProgress)?
  private let warehouse: String
  private let log: Logger
  private let state: Mutex<State>

  init(
    stream: any EventStream, ingestor: Ingestor, definitions: Published<Snapshot>,
    applied: AppliedOffsets, group: (any GroupProgress)?, warehouse: String, log: Logger
  ) {
    self.group = group
    self.warehouse = warehouse
    self.stream = stream
    self.ingestor = ingestor
    self.definitions = definitions
    self.applied = applied
    self.log = log
    state = Mutex(State(records: StreamRecords(definitions.current)))
  }

  var hasStored: Bool { state.withLock { $0.hasStored } }

  func reads(_ partition: StreamPartition) -> Bool {
    state.withLock { $0.positions.partitions.contains(partition) }
  }

  /// Reads partitions from where the warehouse has them, or further on what another warehouse of the group has.
  func begin(_ partitions: [StreamPartition]) async throws {
    let stored = try await ingestor.adoptStreams(partitions)
    state.withLock { $0.positions.begin(stored) }
    // After a start everything that is stored is online, too: the state was made from it.
    applied.advance(
      stored.compactMap { partition, next in
        next.map { StreamOffset(partition: partition, next: $0) }
      })
    log.info(
      "reading Kafka partitions",
      metadata: ["partitions": "\(partitions.sorted().map(\.description))"])
    try await stream.begin(try await beyondOthers(stored))
  }

  /// A partition that was ours before and another's since goes on where the other let it go.
  ///
  /// What this warehouse itself has committed to the group says nothing: a file that was restored from a backup is behind
  /// that, and reads again what it lacks.
  private func beyondOthers(
    _ stored: [StreamPartition: Int64?]
  ) async throws -> [StreamPartition: Int64?] {
    let known = stored.compactMap { $0.value == nil ? nil : $0.key }
    guard let group, !known.isEmpty else { return stored }
    var positions = stored
    for (partition, committed) in try await group.committed(known) {
      guard let mine = stored[partition] ?? nil, committed.next > mine, !committed.note.isEmpty,
        committed.note != warehouse
      else { continue }
      log.info(
        "another warehouse has events of \(partition) up to offset \(committed.next); reading goes on there",
        metadata: ["stored": "\(mine)", "warehouse": "\(committed.note)"])
      positions[partition] = committed.next
    }
    return positions
  }

  /// Parses a batch and hands its rows to the committer; nil where nothing of it is to be stored.
  func submit(_ batch: StreamBatch) async throws -> Delivery? {
    let current = definitions.current
    let (pushes, restarted) = state.withLock { state in
      if !state.records.isOf(current) { state.records = StreamRecords(current) }
      let before = state.positions.restarted
      let pushes = state.records.pushes(batch, &state.positions)
      for push in pushes { state.count(push) }
      return (pushes, state.positions.restarted.subtracting(before))
    }
    if !restarted.isEmpty { hold(restarted) }
    guard !pushes.isEmpty else { return nil }
    var delivery = Delivery(tickets: [], offsets: [])
    for push in pushes {
      delivery.tickets.append(try await ingestor.submit(push.rows, advances: push.advances))
      delivery.offsets += push.advances.map {
        StreamOffset(partition: $0.partition, next: $0.next)
      }
    }
    return delivery
  }

  private func hold(_ restarted: Set<StreamPartition>) {
    let all = state.withLock { $0.positions.restarted }
    for partition in restarted.sorted() {
      let stored = state.withLock { $0.positions.position(of: partition) } ?? 0
      log.error(
        """
        \(partition) has records before offset \(stored), up to which its events are stored: the topic was made anew or \
        lost its end. It is not read. To read it from its start, stop the platform and delete its row of stream_offsets.
        """)
    }
    stream.hold(all)
  }

  /// Waits until both stores have a batch, and tells the group; a failure ends the membership.
  func settle(_ delivery: Delivery) async throws {
    do {
      for ticket in delivery.tickets { _ = try await ticket.receipt() }
    } catch {
      await stream.close()
      throw error
    }
    state.withLock { $0.hasStored = true }
    applied.advance(delivery.offsets)
    stream.commit(delivery.offsets)
  }

  /// Lets partitions go, of which nothing is on its way any more.
  func end(_ partitions: [StreamPartition], isLost: Bool) async throws {
    state.withLock { $0.positions.forget(partitions) }
    if !isLost { try await stream.release(partitions) }
  }
}

extension StreamSession.State {
  mutating func count(_ push: StreamPush) {
    guard let topic = push.advances.first?.partition.topic else { return }
    let counter =
      counters[topic]
      ?? Counter(label: "martlet_kafka_records_total", dimensions: [("topic", topic)])
    counters[topic] = counter
    counter.increment(by: push.rows.count + push.rows.quarantined.count)
  }
}
