/// One partition of a topic.
package struct StreamPartition: Hashable, Sendable, Comparable, CustomStringConvertible {
  package var topic: String
  package var partition: Int32

  package init(topic: String, partition: Int32) {
    self.topic = topic
    self.partition = partition
  }

  package var description: String { "\(topic)/\(partition)" }

  package static func < (one: Self, other: Self) -> Bool {
    (one.topic, one.partition) < (other.topic, other.partition)
  }
}

/// A place in a partition: the offset of the next record to be read, stored or committed.
package struct StreamOffset: Hashable, Sendable {
  package var partition: StreamPartition
  package var next: Int64

  package init(partition: StreamPartition, next: Int64) {
    self.partition = partition
    self.next = next
  }
}

/// How far the reader is behind the end of a partition.
package struct StreamLag: Hashable, Sendable {
  package var partition: StreamPartition
  /// Records between the reader's position and the newest record that the broker has told of.
  package var records: Int64

  package init(partition: StreamPartition, records: Int64) {
    self.partition = partition
    self.records = records
  }
}

/// One record, its bytes where the batch keeps them.
package struct StreamRecord: Sendable, Equatable {
  /// Index into the batch's `partitions`.
  package var partition: Int
  package var offset: Int64
  /// When the producer or the broker dated the record, nil where neither did.
  package var timestamp: Timestamp?
  /// Into the batch's `bytes`; nil for a record without one.
  package var key: Range<Int>?
  /// Nil for a tombstone.
  package var value: Range<Int>?
  /// The header `event_id`; later ones of the same name win.
  package var eventID: Range<Int>?
  /// The header `traceparent` (W3C Trace Context).
  package var traceparent: Range<Int>?

  package init(
    partition: Int, offset: Int64, timestamp: Timestamp? = nil, key: Range<Int>? = nil,
    value: Range<Int>? = nil, eventID: Range<Int>? = nil, traceparent: Range<Int>? = nil
  ) {
    self.partition = partition
    self.offset = offset
    self.timestamp = timestamp
    self.key = key
    self.value = value
    self.eventID = eventID
    self.traceparent = traceparent
  }
}

/// Raw records of some partitions: of each partition those that follow one another, in its order.
package struct StreamBatch: Sendable {
  package var partitions: [StreamPartition] = []
  package var records: [StreamRecord] = []
  /// All keys, values and headers, one after another.
  package var bytes: [UInt8] = []
  private var places: [StreamPartition: Int] = [:]

  package init() {}

  package var isEmpty: Bool { records.isEmpty }

  /// The index of a partition, which is made room for.
  package mutating func place(of partition: StreamPartition) -> Int {
    if let place = places[partition] { return place }
    partitions.append(partition)
    places[partition] = partitions.count - 1
    return partitions.count - 1
  }

  /// Keeps bytes and says where.
  package mutating func keep(_ more: UnsafeRawBufferPointer) -> Range<Int> {
    let start = bytes.count
    bytes.append(contentsOf: more)
    return start..<bytes.count
  }

  package func text(_ range: Range<Int>) -> String {
    String(decoding: bytes[range], as: UTF8.self)
  }

  /// The batch without the records of some partitions.
  package func without(_ gone: Set<StreamPartition>) -> StreamBatch {
    let places = Set(partitions.indices.filter { gone.contains(partitions[$0]) })
    guard !places.isEmpty else { return self }
    var left = self
    left.records.removeAll { places.contains($0.partition) }
    return left
  }
}

/// What a consumer is told, in the order in which it happened.
package enum StreamEvent: Sendable {
  /// The group gave partitions; nothing of them is read before `begin`.
  case assigned([StreamPartition])
  case batch(StreamBatch)
  /// The group takes partitions back and waits for `release`. Records of them that were not
  /// delivered are dropped; those that were may still be stored and committed until then. Where
  /// they are `lost`, another consumer may have them already, and nobody waits.
  case revoked([StreamPartition], lost: Bool)
}

/// A member of a consumer group that reads partitioned logs of records, in batches.
///
/// Guarantees: the records of a partition come in its order, each once between two `begin`s; a
/// record is delivered again, to this or another member, until an offset past it was committed or
/// given to `begin`. A batch waits no longer than the configured interval after its first record, and
/// holds no more than the configured count. Batches that are not taken hold the broker back: at most two
/// wait, then the partitions are paused. Brokers that fail are waited for. One task calls `next`,
/// `begin` and `release`; the others may be called at any time.
package protocol EventStream: Sendable {
  /// The next event; nil after `close`, and when the calling task is cancelled.
  ///
  /// Throws where the member can go on no more (it was fenced, or may not read the topic).
  func next() async throws -> StreamEvent?
  /// Starts reading assigned partitions, or goes back or forth in them; returns when no batch read
  /// before will be delivered any more.
  ///
  /// A partition without an offset starts where the group has committed, and where it has
  /// nothing, at the configured end of the log.
  func begin(_ positions: [StreamPartition: Int64?]) async throws
  /// Lets revoked partitions go, after what was committed has been sent.
  func release(_ partitions: [StreamPartition]) async throws
  /// Tells the group how far partitions are done with; returns at once.
  ///
  /// A commit that fails is sent again with the next; one that is lost costs a reading again.
  func commit(_ offsets: [StreamOffset])
  /// Reads nothing of these partitions for now, and of all others.
  func hold(_ partitions: Set<StreamPartition>)
  /// Of the partitions that are read.
  var lag: [StreamLag] { get }
  /// Sends what was committed, leaves the group (a static member keeps its place) and ends `next`.
  func close() async
}

/// What a group has committed of a partition.
package struct GroupPosition: Sendable, Equatable {
  package var next: Int64
  /// What was committed along: which warehouse has the events before `next`; empty where nothing was said.
  package var note: String

  package init(next: Int64, note: String = "") {
    self.next = next
    self.note = note
  }
}

/// How far a consumer group is done with partitions, whichever of its members reads them.
package protocol GroupProgress: Sendable {
  /// What was committed last of these partitions; nothing of one where nothing was. Throws `.unavailable` where no broker
  /// answers within seconds.
  func committed(_ partitions: [StreamPartition]) async throws -> [StreamPartition: GroupPosition]
}

/// How far a consumer group is done with one topic.
package struct TopicProgress: Sendable, Equatable {
  package var topic: String
  package var partitions: Int
  /// Records between what the group has committed and the end, over all partitions; nil where that is not known.
  package var lag: Int64?
  /// What is wrong with the topic, and what to do; nil where nothing is.
  package var fault: String?

  package init(topic: String, partitions: Int = 0, lag: Int64? = nil, fault: String? = nil) {
    self.topic = topic
    self.partitions = partitions
    self.lag = lag
    self.fault = fault
  }
}

/// Looks at topics from outside the group.
package protocol TopicWatching: Sendable {
  /// One answer for each topic, in their order; throws `.unavailable` where no broker answers in time.
  func look(at topics: [String], within patience: Span) async throws -> [TopicProgress]
}

/// A record to be produced.
package struct ProducedRecord: Sendable {
  package var topic: String
  /// What the partition is chosen by; the entity key, so that one entity's events stay in order.
  package var key: String?
  /// One JSON object.
  package var value: [UInt8]
  package var headers: [(name: String, value: String)]

  package init(
    topic: String, key: String?, value: [UInt8], headers: [(name: String, value: String)] = []
  ) {
    self.topic = topic
    self.key = key
    self.value = value
    self.headers = headers
  }
}

/// Writes records to partitioned logs.
///
/// Guarantees: a record whose place was returned is in the log, once, on as many brokers as the topic asks for;
/// records of one call and key keep their order.
package protocol EventProducer: Sendable {
  /// Produces records and returns, for each, the place after it.
  ///
  /// Throws the first failure after all have been tried, and `CancellationError` as soon as the calling task is
  /// cancelled; records of the call may be in the log then, or still come there.
  ///
  /// - Parameter waits: for room where the buffer is full; else nothing is produced then and `.overloaded` thrown.
  func produce(_ records: [ProducedRecord], waits: Bool) async throws -> [StreamOffset]
  /// What keeps it from delivering, as far as it knows; nil where nothing does.
  var trouble: String? { get }
  /// Delivers what is on its way, as far as the configured time allows, and ends.
  func close() async
}

extension EventProducer {
  /// Produces records, waiting for room.
  package func produce(_ records: [ProducedRecord]) async throws -> [StreamOffset] {
    try await produce(records, waits: true)
  }
}
