import Core

/// How far each partition has been read in one membership of a group: a pure value.
///
/// The steps of a partition form a chain from the stored position on, whatever offsets the log leaves
/// out, so that a batch can only be stored after the one before it.
struct StreamPositions: Sendable {
  private var next: [StreamPartition: Int64?] = [:]
  /// Partitions whose log begins anew before what is stored.
  private(set) var restarted: Set<StreamPartition> = []

  var partitions: Set<StreamPartition> { Set(next.keys) }

  /// The group gave partitions, of which so much is stored.
  mutating func begin(_ stored: [StreamPartition: Int64?]) {
    for (partition, position) in stored { next[partition] = .some(position) }
    restarted.subtract(stored.keys)
  }

  mutating func forget(_ partitions: [StreamPartition]) {
    for partition in partitions { next[partition] = nil }
    restarted.subtract(partitions)
  }

  /// The step that records from `first` to `last` take, nil where they must not be stored.
  ///
  /// A log never goes back: a record before the position means that the topic was made anew (or lost its end), and that
  /// its offsets say nothing about what is stored.
  mutating func advance(
    _ partition: StreamPartition, first: Int64, last: Int64
  ) -> StreamAdvance? {
    guard let position = next[partition], !restarted.contains(partition) else { return nil }
    if let position, first < position {
      restarted.insert(partition)
      return nil
    }
    next[partition] = .some(last + 1)
    return StreamAdvance(partition: partition, from: position, next: last + 1)
  }

  /// Where a partition is read next, nil where that is not known.
  func position(of partition: StreamPartition) -> Int64? { next[partition] ?? nil }
}
