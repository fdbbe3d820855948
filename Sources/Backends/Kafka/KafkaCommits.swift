import CRdKafka
import Core

/// Which offsets the group has yet to be told: one request at a time, the newest of each partition.
struct KafkaCommits {
  /// How long released partitions and the end of a stream wait for commits.
  static let patience = Duration.seconds(5)
  private static let pauseAfterFailure = Duration.seconds(1)

  private var waiting: [StreamPartition: Int64] = [:]
  private var sent: [StreamPartition: Int64]?
  private var notBefore: ContinuousClock.Instant

  init(now: ContinuousClock.Instant) { notBefore = now }

  var isIdle: Bool { waiting.isEmpty && sent == nil }

  mutating func add(_ offsets: [StreamPartition: Int64]) { waiting.merge(offsets) { max($0, $1) } }

  /// Another member has these now.
  mutating func forget(_ partitions: some Sequence<StreamPartition>) {
    for partition in partitions { waiting[partition] = nil }
  }

  /// What is to be sent now, of the partitions that are ours.
  mutating func next(
    _ now: ContinuousClock.Instant, of ours: Set<StreamPartition>
  ) -> [StreamPartition: Int64]? {
    guard sent == nil, now >= notBefore else { return nil }
    waiting = waiting.filter { ours.contains($0.key) }
    guard !waiting.isEmpty else { return nil }
    sent = waiting
    waiting = [:]
    return sent
  }

  /// The group answered; what failed waits for the next time.
  mutating func answered(isDone: Bool, now: ContinuousClock.Instant) {
    guard let sent else { return }
    self.sent = nil
    guard !isDone else { return }
    waiting.merge(sent) { max($0, $1) }
    notBefore = now + Self.pauseAfterFailure
  }
}

extension KafkaPollLoop {
  func serveCommits() {
    settleReleaseIfDue()
    guard let offsets = commits.next(clock.now, of: assigned.union(toRelease)) else { return }
    let list = KafkaPartitions(
      offsets.map { (key: $0.key, value: Optional($0.value)) }, note: note)
    let status = list.with { list in
      rd_kafka_commit_queue(
        client, list, queue,
        { _, code, list, opaque in
          KafkaListener.of(opaque)?.onCommit?(
            code, list.map { KafkaPartitions(borrowing: $0) })
        }, listener.opaque)
    }
    if status != RD_KAFKA_RESP_ERR_NO_ERROR { committed(status, nil) }
  }

  func committed(_ code: rd_kafka_resp_err_t, _ list: KafkaPartitions?) {
    let failure =
      code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR__NO_OFFSET
      ? code : list?.failure?.code
    commits.answered(isDone: failure == nil, now: clock.now)
    guard let failure else { return }
    // The group takes no offsets any more until its members have joined anew, which waits for what we hold.
    if releaser != nil, Self.comesTooLate(failure) { settleRelease() }
    listener.logger.info(
      "Kafka: offsets were not committed and will be again; \(KafkaFault.text(failure))",
      metadata: ["code": "\(KafkaFault.name(failure))"])
  }

  private static func comesTooLate(_ code: rd_kafka_resp_err_t) -> Bool {
    code == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS || code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION
      || code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID
  }

  private func settleReleaseIfDue() {
    guard let releaser, commits.isIdle || clock.now >= releaser.deadline else { return }
    settleRelease()
  }
}
