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
    /// What ended it, where that was a store.
    var failure: (any Error)?
  }

  let stream: any EventStream
  private let ingestor: Ingestor
  private let definitions: Published<Snapshot>
  private let applied: AppliedOffsets
  private let group: (any GroupProgress)?
  private let warehouse: String
  /// Nil where no other warehouse shares the group.
  private let claims: StreamClaims?
  private let log: Logger
  private let state: Mutex<State>

  init(
    stream: any EventStream, ingestor: Ingestor, definitions: Published<Snapshot>,
    applied: AppliedOffsets, group: (any GroupProgress)?, claims: StreamClaims?,
    warehouse: String, log: Logger
  ) {
    self.claims = claims
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

  var partitions: Int { state.withLock { $0.positions.partitions.count } }

  /// Why a store ended it, nil where none did.
  var failure: (any Error)? { state.withLock { $0.failure } }

  /// Whether what is stored of a partition is known here.
  func reads(_ partition: StreamPartition) -> Bool {
    state.withLock { $0.positions.partitions.contains(partition) }
      && claims?.isOwed(partition) != true
  }

  /// Reads partitions from where the warehouse has them, or further on what another warehouse of the group has.
  func begin(_ partitions: [StreamPartition]) async throws {
    let stored = try await ingestor.adoptStreams(partitions)
    let beginnings = try await beyondOthers(stored)
    state.withLock { $0.positions.begin(stored, reading: beginnings) }
    // After a start everything that is stored is online, too: the state was made from it.
    tell(
      stored.compactMap { partition, next in
        next.map { StreamOffset(partition: partition, next: $0) }
      })
    log.info(
      "reading Kafka partitions",
      metadata: ["partitions": "\(partitions.sorted().map(\.description))"])
    try await stream.begin(beginnings)
  }

  /// Tells those who wait for offsets; what others owe before them is not stored yet.
  private func tell(_ offsets: [StreamOffset]) {
    guard let claims else { return applied.advance(offsets) }
    applied.advance(offsets.filter { !claims.isOwed($0.partition) })
  }

  /// A partition is read from where others of the group have let it go.
  private func beyondOthers(
    _ stored: [StreamPartition: Int64?]
  ) async throws -> [StreamPartition: Int64?] {
    var positions = stored
    for (partition, end) in try await claims?.take(stored) ?? [:]
    where end > (stored[partition] ?? nil) ?? -1 {
      positions[partition] = end
    }
    let known = positions.compactMap { $0.value == nil ? nil : $0.key }
    guard let group, !known.isEmpty else { return positions }
    // Where nothing is claimed yet, or where that was lost, the group's word counts. What this warehouse itself has committed says
    // nothing: a file that was restored from a backup is behind that, and reads again what it lacks.
    for (partition, committed) in try await group.committed(known) {
      guard let mine = positions[partition] ?? nil, committed.next > mine, !committed.note.isEmpty,
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
    let kept = try await claims?.claim(pushes) ?? pushes
    var delivery = Delivery(tickets: [], offsets: [])
    do {
      for push in kept {
        delivery.tickets.append(try await ingestor.submit(push.rows, advances: push.advances))
        delivery.offsets += push.advances.map {
          StreamOffset(partition: $0.partition, next: $0.next)
        }
      }
    } catch {
      // When this has ended nothing of it is on its way any more.
      for ticket in delivery.tickets { _ = try? await ticket.receipt() }
      throw error
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
        lost its end. It is not read. To read it from its start, stop the platform and delete its row of stream_offsets, and \
        with Redis the key PREFIX:stream@\(partition).
        """)
    }
    stream.hold(all)
  }

  /// Waits until both stores have a batch, and tells the group; a failure ends the membership.
  func settle(_ delivery: Delivery) async throws {
    do {
      try await receive(delivery)
      state.withLock { $0.hasStored = true }
      try await claims?.stored(delivery.offsets)
    } catch {
      state.withLock { $0.failure = $0.failure ?? error }
      await stream.close()
      throw error
    }
    tell(delivery.offsets)
    stream.commit(delivery.offsets)
  }

  /// Waits for every ticket, also after one has failed.
  private func receive(_ delivery: Delivery) async throws {
    var failure: (any Error)?
    for ticket in delivery.tickets {
      do { _ = try await ticket.receipt() } catch { failure = failure ?? error }
    }
    if let failure { throw failure }
  }

  /// Lets partitions go, of which nothing is on its way any more.
  func end(_ partitions: [StreamPartition], isLost: Bool) async throws {
    state.withLock { $0.positions.forget(partitions) }
    claims?.forget(partitions)
    if !isLost { try await stream.release(partitions) }
  }

  /// Ends the membership's part in the ledger; nothing is on its way any more.
  ///
  /// What was claimed and could not be stored may be stored by whoever reads its partition next. Where that cannot be said, it stays
  /// this warehouse's to store.
  func giveBack() async {
    guard let claims else { return }
    claims.forgetAll()
    let unsettled = claims.unsettled
    if unsettled.isEmpty { return }
    do {
      try await claims.giveBack(try await ingestor.adoptStreams(unsettled))
    } catch {
      log.notice(
        "records that were claimed and not stored could not be given back; this process reads them again",
        metadata: ["partitions": "\(unsettled.sorted().map(\.description))", "error": "\(error)"])
    }
  }

  /// Looks now and then, until the task is cancelled, whether others have stored what they had claimed.
  func watchOthers() async {
    while !Task.isCancelled {
      try? await Task.sleep(for: .seconds(1))
      do {
        try await claims?.refresh()
      } catch {
        log.debug("the claims of others could not be looked at", metadata: ["error": "\(error)"])
      }
    }
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
