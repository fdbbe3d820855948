import Core
import Synchronization

/// How long somebody waits, counted from when it is made.
package struct Patience: Sendable {
  package let limit: Span
  package let end: ContinuousClock.Instant

  package init(_ limit: Span) {
    self.limit = limit
    end = ContinuousClock.now + limit.duration
  }
}

/// Takes pushes of sources whose events go through a topic.
///
/// Guarantees: a push that was answered is in the log, acknowledged by as many brokers as the topic asks for. Waiting for
/// `applied` ends when whoever reads the partitions, this process or another, has stored the records in both stores: the
/// group's offsets are committed only then.
package final class PushProducer: Sendable {
  package typealias Connect = @Sendable () throws -> (any EventProducer, any GroupProgress)

  /// How often the group is asked about partitions that another process reads, and about those that are read here, which
  /// a rebalance may have taken away.
  private static let pauses = (elsewhere: Duration.milliseconds(50), here: Duration.seconds(1))

  private let stream: StreamIngest
  private let connect: Connect
  private let connection = Mutex<(producer: any EventProducer, progress: any GroupProgress)?>(nil)

  /// - Parameter connect: called when the first push comes.
  package init(stream: StreamIngest, connect: @escaping Connect) {
    self.stream = stream
    self.connect = connect
  }

  private func connected() throws -> (producer: any EventProducer, progress: any GroupProgress) {
    try connection.withLock { connection in
      if let connection { return connection }
      let new = try connect()
      connection = new
      return new
    }
  }

  /// Produces the records of a push, bad ones as well: who reads the topic puts them into quarantine. Returns where they end.
  ///
  /// Throws `.deadlineExceeded` where the brokers do not have all by `patience`, and `.overloaded` where too much waits for them
  /// already.
  ///
  /// - Parameter bytes: JSON lines, or a body that was found to be JSON.
  package func produce(
    _ bytes: [UInt8], isLines: Bool, of source: SourceDefinition, topic: String,
    in project: ProjectDefinition, client: String?, first: Int64, overload: Overload,
    within patience: Patience
  ) async throws -> [StreamOffset] {
    var push = ProducedRecords(source, topic: topic, in: project, client: client, first: first)
    try bytes.withUnsafeBufferPointer { bytes in
      if isLines { push.append(lines: bytes) } else { try push.append(body: bytes) }
    }
    let (records, producer) = (push.records, try connected().producer)
    let places = try await withThrowingTaskGroup(of: [StreamOffset]?.self) { group in
      group.addTask { try await producer.produce(records, waits: overload == .wait) }
      group.addTask {
        try await Task.sleep(until: patience.end, clock: .continuous)
        return nil
      }
      defer { group.cancelAll() }
      return try await group.next() ?? nil
    }
    guard let places else {
      throw PlatformError(
        .deadlineExceeded,
        "the brokers have not acknowledged the records within \(patience.limit)"
          + (producer.trouble.map { ": \($0)" } ?? "")
          + ". They may still be written when the brokers are back; \(Self.repeating)",
        context: ["records": "\(records.count)"])
    }
    return places
  }

  private static let repeating =
    "sent again they count twice, unless they have event ids or come with client and sequence"

  /// Returns when the records before these offsets are in both stores; throws `.deadlineExceeded` where that takes longer.
  package func applied(_ offsets: [StreamOffset], within patience: Patience) async throws {
    var ends: [StreamPartition: Int64] = [:]
    for offset in offsets { ends[offset.partition] = max(offset.next, ends[offset.partition] ?? 0) }
    let progress = try connected().progress
    let wanted = ends
    let isInTime = try await withThrowingTaskGroup(of: Bool.self) { group in
      group.addTask {
        try await self.stream.applied.wait(
          for: wanted.map { StreamOffset(partition: $0.key, next: $0.value) })
        return true
      }
      group.addTask {
        try await self.committed(wanted, progress)
        return true
      }
      group.addTask {
        try await Task.sleep(until: patience.end, clock: .continuous)
        return false
      }
      defer { group.cancelAll() }
      return try await group.next() ?? false
    }
    guard isInTime else {
      throw PlatformError(
        .deadlineExceeded,
        "the records are in their topic, but nobody has applied them within \(patience.limit); they count when the "
          + "topic is read. See `martlet status`, or push with wait=produced. Beware: \(Self.repeating)",
        context: ["records": "\(offsets.count)"])
    }
  }

  private func committed(
    _ ends: [StreamPartition: Int64], _ progress: any GroupProgress
  ) async throws {
    var left = ends
    while !left.isEmpty {
      let isHere = left.keys.allSatisfy(stream.reads)
      try await Task.sleep(for: isHere ? Self.pauses.here : Self.pauses.elsewhere)
      // Stores and brokers that do not answer for a while are no reason to give up before the limit.
      var claimed: Set<StreamPartition> = []
      if let ledger = stream.ledger {
        guard let known = try? await ledger.look(at: Array(left.keys)) else { continue }
        left = left.filter { partition, end in known[partition]?.isStored(before: end) != true }
        // Of these the group's offsets say too much: they pass over what a dead process has yet to store.
        claimed = Set(known.filter { $0.value.end != nil }.keys)
      }
      let others = left.keys.filter { !claimed.contains($0) }
      if others.isEmpty { continue }
      guard let found = try? await progress.committed(others) else { continue }
      left = left.filter { partition, end in
        claimed.contains(partition) || (found[partition]?.next ?? 0) < end
      }
    }
  }

  /// Keeps the producer until the task is cancelled; then delivers what is on its way.
  package func run() async {
    while !Task.isCancelled { try? await Task.sleep(for: .seconds(3_600)) }
    let producer = connection.withLock { $0?.producer }
    await producer?.close()
  }
}
