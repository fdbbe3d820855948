import CRdKafka
import Core
import Dispatch
import Foundation
import Logging

/// The consumer's thread: polls, gathers batches, and does what the mailbox asks.
///
/// Used on that thread only, apart from `init`; librdkafka's callbacks run inside its polls.
final class KafkaPollLoop: @unchecked Sendable {
  /// How long two full batches are waited for before the broker is held back, which throws away what was fetched ahead.
  private static let patience = Duration.seconds(1)
  private static let idleMilliseconds = 1_000
  private static let pausedMilliseconds = 100
  /// How long the end of a stream waits for the group.
  private static let lastPatience = DispatchTimeInterval.seconds(10)
  /// Records that are taken between two looks into the mailbox.
  private static let burst = 512

  let mailbox: KafkaMailbox
  let client: OpaquePointer
  let queue: OpaquePointer
  let listener: KafkaListener
  let clock = ContinuousClock()
  let note: String
  var gathering: KafkaBatchBuilder
  var isClosing = false

  // What the group has said and what of it is open.
  var assigned: Set<StreamPartition> = []
  var toBegin: [StreamPartition] = []
  /// Where partitions that are ours were begun.
  var begun: [StreamPartition: Int64] = [:]
  var toRelease: [StreamPartition] = []
  var releaser: (command: KafkaMailbox.Command, deadline: ContinuousClock.Instant)?

  // What is paused, and why.
  private var held: Set<StreamPartition> = []
  var paused: Set<StreamPartition> = []
  /// Since when a full batch has found no room.
  private var stalledSince: ContinuousClock.Instant?

  var commits: KafkaCommits
  private var nextLag: ContinuousClock.Instant

  init(
    _ configuration: KafkaConfiguration, topics: [String], mailbox: KafkaMailbox, logger: Logger
  ) throws {
    self.mailbox = mailbox
    note = configuration.note
    gathering = KafkaBatchBuilder(
      records: configuration.batchRecords, interval: configuration.batchInterval.duration)
    let listener = KafkaListener(logger: logger)
    let settings = try KafkaSettings(try configuration.consumerProperties())
    listener.listen(settings)
    listener.listenToRebalances(settings)
    client = try settings.client(RD_KAFKA_CONSUMER)
    queue = rd_kafka_queue_get_consumer(client)
    self.listener = listener
    commits = KafkaCommits(now: clock.now)
    nextLag = clock.now
    // Errors and logs come with the messages.
    rd_kafka_poll_set_consumer(client)
    let subscription = KafkaPartitions(
      topics.map { StreamPartition(topic: $0, partition: RD_KAFKA_PARTITION_UA) })
    let status = subscription.with { rd_kafka_subscribe(client, $0) }
    guard status == RD_KAFKA_RESP_ERR_NO_ERROR else {
      rd_kafka_queue_destroy(queue)
      rd_kafka_destroy(client)
      throw KafkaFault.error(status, doing: "Subscribing to \(topics.joined(separator: ", "))")
    }
    listener.onFailure = { [unowned self] in self.mailbox.failed($0) }
    listener.onRebalance = { [unowned self] in self.rebalance($0, $1) }
    listener.onCommit = { [unowned self] in self.committed($0, $1) }
    // A pointer that the mailbox uses under its lock, until `polls(nil)` has taken it away.
    nonisolated(unsafe) let queue = queue
    mailbox.polls { rd_kafka_queue_yield(queue) }
  }

  func run() {
    while !isClosing {
      obey(mailbox.errand())
      serveCommits()
      deliver()
      noteLag()
      if let stalledSince { relent(since: stalledSince) } else { poll() }
    }
    finish()
  }

  /// Every command is answered, also while the stream ends: whoever waits for it would wait for ever.
  private func obey(_ errand: KafkaMailbox.Errand) {
    commits.add(errand.commits)
    for command in errand.commands {
      switch command {
      case .begin where isClosing: command.answer(.failure(KafkaMailbox.closed))
      case .begin(let positions, _): command.answer(Result { try begin(positions) })
      case .release:
        releaser?.command.answer(.success(()))
        releaser = (command, clock.now + KafkaCommits.patience)
      }
    }
    if let wanted = errand.held {
      held = wanted
      pause()
    }
    isClosing = errand.isClosing
  }

  // MARK: Messages

  private func poll() {
    let remaining = gathering.remaining(clock.now)
    var timeout = Self.idleMilliseconds
    if let remaining {
      timeout = max(0, min(timeout, Int((remaining / .milliseconds(1)).rounded(.up))))
    }
    if !commits.isIdle { timeout = min(timeout, Self.pausedMilliseconds) }
    var taken = 0
    while taken < Self.burst, !gathering.isFull {
      guard let message = rd_kafka_consumer_poll(client, taken == 0 ? Int32(timeout) : 0) else {
        return
      }
      take(message)
      taken += 1
    }
  }

  private func take(_ message: UnsafeMutablePointer<rd_kafka_message_t>) {
    defer { rd_kafka_message_destroy(message) }
    switch message.pointee.err {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
      gathering.append(message, of: assigned, clock) { self.ends(of: $0)?.high }
    case RD_KAFKA_RESP_ERR__PARTITION_EOF: break
    case let code:
      let reason = rd_kafka_message_errstr(message).map { String(cString: $0) } ?? ""
      listener.logger.warning(
        "Kafka: \(reason)\(KafkaFault.advice(code))",
        metadata: ["code": "\(KafkaFault.name(code))"])
    }
  }

  /// Hands a batch over that is due, where there is room for it.
  private func deliver() {
    guard gathering.isDue(clock.now) else { return }
    guard mailbox.hasRoom else {
      if gathering.isFull, stalledSince == nil { stalledSince = clock.now }
      return
    }
    listener.recovered()
    mailbox.post(.batch(gathering.take()))
  }

  /// Waits for the caller to take a batch, holding the brokers back where that takes long.
  private func relent(since start: ContinuousClock.Instant) {
    let patience = start + Self.patience - clock.now
    if patience <= .zero {
      pause(all: true)
      // The group must hear from us all the same.
      if let message = rd_kafka_consumer_poll(client, Int32(Self.pausedMilliseconds)) {
        take(message)
      }
    } else {
      mailbox.wait(patience)
    }
    if mailbox.hasRoom || !gathering.isFull {
      stalledSince = nil
      pause()
    }
  }

  /// Brings about what should be paused now.
  func pause(all: Bool = false) {
    let wanted = all ? assigned : held.intersection(assigned)
    let less = paused.subtracting(wanted)
    let more = wanted.subtracting(paused)
    if !less.isEmpty { _ = KafkaPartitions(less).with { rd_kafka_resume_partitions(client, $0) } }
    if !more.isEmpty { _ = KafkaPartitions(more).with { rd_kafka_pause_partitions(client, $0) } }
    paused = wanted
  }

  private func noteLag() {
    guard clock.now >= nextLag else { return }
    nextLag = clock.now + .seconds(1)
    guard !assigned.isEmpty else {
      mailbox.lag = []
      return
    }
    let positions = KafkaPartitions(assigned)
    guard positions.with({ rd_kafka_position(client, $0) }) == RD_KAFKA_RESP_ERR_NO_ERROR else {
      return
    }
    let delivered = positions.offsets
    mailbox.lag = assigned.compactMap { partition in
      guard let ends = ends(of: partition) else { return nil }
      // librdkafka has no position before the first record: a partition that gets none is where it was begun.
      let position =
        delivered[partition] ?? begun[partition] ?? (ends.low == ends.high ? ends.high : nil)
      return position.map { StreamLag(partition: partition, records: max(0, ends.high - $0)) }
    }.sorted { $0.partition < $1.partition }
  }

  /// The ends of a log by the broker's last answer.
  private func ends(of partition: StreamPartition) -> (low: Int64, high: Int64)? {
    var low: Int64 = 0
    var high: Int64 = 0
    let status = rd_kafka_get_watermark_offsets(
      client, partition.topic, partition.partition, &low, &high)
    return status == RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0 ? (low, high) : nil
  }

  /// Sends what was committed, leaves, and lets everything of librdkafka go.
  private func finish() {
    obey(mailbox.errand())
    let deadline = clock.now + KafkaCommits.patience
    while !commits.isIdle, clock.now < deadline {
      serveCommits()
      if let message = rd_kafka_consumer_poll(client, Int32(Self.pausedMilliseconds)) {
        rd_kafka_message_destroy(message)
      }
      obey(mailbox.errand())
    }
    settleRelease()
    mailbox.polls(nil)
    // librdkafka 2.0 may wait without end for a broker that is away; whoever closes a stream need not. The group then
    // misses this member when its session is over.
    let left = DispatchSemaphore(value: 0)
    let leaving = Thread { [self] in
      leave()
      left.signal()
    }
    leaving.name = "kafka-leave"
    leaving.start()
    if left.wait(timeout: .now() + Self.lastPatience) == .timedOut {
      listener.logger.notice(
        "Kafka: no broker answered; the group notices by itself that this member has left")
    }
    mailbox.end()
  }

  /// Leaves the group and lets everything of librdkafka go. What it calls back meanwhile is called on this thread, while the other waits.
  private func leave() {
    rd_kafka_consumer_close(client)
    rd_kafka_queue_destroy(queue)
    rd_kafka_destroy(client)
    listener.silence()
  }
}
