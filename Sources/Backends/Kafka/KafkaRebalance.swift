import CRdKafka
import Core

/// The group's giving and taking of partitions, in the eager and in the cooperative protocol.
extension KafkaPollLoop {
  private var isCooperative: Bool {
    rd_kafka_rebalance_protocol(client).map { String(cString: $0) == "COOPERATIVE" } ?? false
  }

  /// Called within a poll; the group waits until `assign` or `unassign`, which may come later.
  func rebalance(_ code: rd_kafka_resp_err_t, _ list: KafkaPartitions) {
    let partitions = list.partitions
    switch code {
    case RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS:
      guard !partitions.isEmpty, !isClosing else {
        assign(list)
        return
      }
      toBegin = partitions
      mailbox.post(.assigned(partitions))
    case RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS:
      revoke(list, partitions)
    default:
      listener.logger.warning(
        "Kafka: a rebalance failed and is tried again; \(KafkaFault.text(code))")
      rd_kafka_assign(client, nil)
      toBegin = []
      let gone = Array(assigned)
      forget(gone)
      if !gone.isEmpty { mailbox.post(.revoked(gone, lost: true)) }
    }
  }

  private func revoke(_ list: KafkaPartitions, _ partitions: [StreamPartition]) {
    let isLost = rd_kafka_assignment_lost(client) != 0
    gathering.purge(Set(partitions))
    mailbox.purge(Set(partitions))
    toBegin.removeAll { partitions.contains($0) }
    guard !partitions.isEmpty, !isLost, !isClosing else {
      unassign(list)
      forget(partitions)
      if !partitions.isEmpty { mailbox.post(.revoked(partitions, lost: true)) }
      return
    }
    toRelease = partitions
    assigned.subtract(partitions)
    mailbox.post(.revoked(partitions, lost: false))
  }

  private func forget(_ partitions: [StreamPartition]) {
    commits.forget(partitions)
    assigned.subtract(partitions)
    paused.subtract(partitions)
    for partition in partitions { begun[partition] = nil }
  }

  /// The caller is done with what the group takes back.
  func settleRelease() {
    if !toRelease.isEmpty {
      unassign(KafkaPartitions(toRelease))
      forget(toRelease)
      toRelease = []
    }
    releaser?.command.answer(.success(()))
    releaser = nil
  }

  func begin(_ positions: [StreamPartition: Int64?]) throws {
    let new = toBegin.filter { positions.keys.contains($0) }
    if !new.isEmpty {
      toBegin.removeAll { positions.keys.contains($0) }
      assign(KafkaPartitions(new.map { (key: $0, value: positions[$0] ?? nil) }))
      assigned.formUnion(new)
      for partition in new {
        begun[partition] = positions[partition] ?? nil
        if let position = begun[partition] { gathering.begin(partition, at: position) }
      }
      pause()
    }
    var moved: [StreamPartition: Int64] = [:]
    for (partition, position) in positions where assigned.contains(partition) {
      if let position, !new.contains(partition) { moved[partition] = position }
    }
    guard !moved.isEmpty else { return }
    try seek(moved)
  }

  private func seek(_ moved: [StreamPartition: Int64]) throws {
    gathering.purge(Set(moved.keys))
    mailbox.purge(Set(moved.keys))
    for (partition, position) in moved { gathering.begin(partition, at: position) }
    let list = KafkaPartitions(moved.map { (key: $0.key, value: Optional($0.value)) })
    if let error = list.with({ rd_kafka_seek_partitions(client, $0, 5_000) }) {
      defer { rd_kafka_error_destroy(error) }
      throw KafkaFault.error(
        rd_kafka_error_code(error), doing: "Going back in \(moved.count) Kafka partitions")
    }
    if let failure = list.failure {
      throw KafkaFault.error(failure.code, doing: "Going back in \(failure.partition)")
    }
  }

  // MARK: librdkafka

  private func assign(_ list: KafkaPartitions) {
    if isCooperative {
      report(list.with { rd_kafka_incremental_assign(client, $0) })
    } else {
      let status = list.with { rd_kafka_assign(client, $0) }
      if status != RD_KAFKA_RESP_ERR_NO_ERROR {
        mailbox.failed(KafkaFault.error(status, doing: "Taking Kafka partitions"))
      }
    }
  }

  private func unassign(_ list: KafkaPartitions) {
    if isCooperative {
      report(list.with { rd_kafka_incremental_unassign(client, $0) })
    } else {
      rd_kafka_assign(client, nil)
    }
  }

  /// A partition that was lost meanwhile is no failure: the group says so itself.
  private func report(_ error: OpaquePointer?) {
    guard let error else { return }
    let text = rd_kafka_error_string(error).map { String(cString: $0) } ?? ""
    listener.logger.info("Kafka: partitions were not changed: \(text)")
    rd_kafka_error_destroy(error)
  }
}
