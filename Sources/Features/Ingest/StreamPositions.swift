import Core

/// How far each partition has been read in one membership of a group: a pure value.
///
/// The steps of a partition form a chain from the stored position on, whatever offsets the log leaves
/// out, so that a batch can only be stored after the one before it.
struct StreamPositions: Sendable {
  /// What records of one partition take.
  struct Step {
    var advance: StreamAdvance
    var claim: StreamClaim
  }

  private var next: [StreamPartition: Int64?] = [:]
  /// Where reading is, which is further than what is stored where another warehouse has the records between; nothing of a
  /// partition that is read from wherever the group is.
  private var reading: [StreamPartition: Int64] = [:]
  /// Partitions whose log begins anew before what is stored.
  private(set) var restarted: Set<StreamPartition> = []

  var partitions: Set<StreamPartition> { Set(next.keys) }

  /// The group gave partitions, of which so much is stored and which are read from there or further on.
  mutating func begin(
    _ stored: [StreamPartition: Int64?], reading beginnings: [StreamPartition: Int64?]
  ) {
    for (partition, position) in stored {
      next[partition] = .some(position)
      reading[partition] = beginnings[partition] ?? position
    }
    restarted.subtract(stored.keys)
  }

  mutating func forget(_ partitions: [StreamPartition]) {
    for partition in partitions {
      next[partition] = nil
      reading[partition] = nil
    }
    restarted.subtract(partitions)
  }

  /// The step that records from `first` to `last` take, nil where they must not be stored.
  ///
  /// A log never goes back: a record before the position means that the topic was made anew (or lost its end), and that
  /// its offsets say nothing about what is stored.
  mutating func advance(
    _ partition: StreamPartition, first: Int64, last: Int64
  ) -> Step? {
    guard let position = next[partition], !restarted.contains(partition) else { return nil }
    let start = reading[partition]
    if let start, first < start {
      restarted.insert(partition)
      return nil
    }
    next[partition] = .some(last + 1)
    reading[partition] = last + 1
    return Step(
      advance: StreamAdvance(partition: partition, from: position, next: last + 1),
      claim: StreamClaim(partition: partition, first: start ?? first, next: last + 1))
  }

  /// Where a partition is read next, nil where that is not known.
  func position(of partition: StreamPartition) -> Int64? { next[partition] ?? nil }
}
