import Core

/// What the committer remembers of every source: the ids that may come again, the last sequence
/// and the last stamp.
///
/// A pure value, changed by the committer only. Sequences of a commit that failed are not used
/// again; its ids are released.
struct CommitLedger: Sendable {
  struct Entry: Sendable {
    var lastSequence: Int64
    /// The last sequence that the online state contains.
    var appliedSequence: Int64
    var ids: EventIDIndex
    /// By `UniqueCheck.memory`.
    var unique: [String: UniqueIndex] = [:]
    /// What the newest events' transform was, as `transform_versions` has it.
    var transform: TransformVersion?
  }

  let seed: EventIDSeed
  private(set) var entries: [String: Entry] = [:]
  private var lastStamp = Int64.min
  /// Where the stored events of each stream's partition end that this process reads.
  private(set) var streams: [StreamPartition: Int64] = [:]
  /// Nil where no key was ever erased.
  private(set) var tombstones: Tombstones?
  private(set) var knowsTombstones = false

  init(seed: EventIDSeed) { self.seed = seed }

  func knows(_ source: String) -> Bool { entries[source] != nil }

  /// What the warehouse has of a source; a source that is known already keeps what is known.
  mutating func adopt(
    _ source: String, lastSequence: Int64, lastStamp stamp: Int64, ids: EventIDIndex
  ) {
    lastStamp = max(lastStamp, stamp)
    guard entries[source] == nil else { return }
    entries[source] = Entry(lastSequence: lastSequence, appliedSequence: lastSequence, ids: ids)
  }

  /// The moment of a commit: the clock's, but always after the last one.
  mutating func stamp(_ now: Timestamp) -> Int64 {
    lastStamp = lastStamp == .min ? now.microseconds : max(now.microseconds, lastStamp + 1)
    return lastStamp
  }

  /// The next `count` sequences of a source.
  mutating func take(_ count: Int, of source: String) -> ClosedRange<Int64> {
    withEntry(source) { entry in
      let first = entry.lastSequence + 1
      entry.lastSequence += Int64(count)
      return first...max(first, entry.lastSequence)
    }
  }

  /// Forgets what a commit that failed had remembered.
  mutating func release(_ marks: AdmissionMarks, of source: String) {
    withEntry(source) { entry in
      for id in marks.ids { entry.ids.remove(id) }
      for mark in marks.unique { entry.unique[mark.memory]?.remove(mark.value, at: mark.time) }
    }
  }

  /// Notes what made the next events' columns; false where it is what made the last ones'.
  mutating func changesTransform(of source: String, to version: TransformVersion?) -> Bool {
    withEntry(source) { entry in
      defer { entry.transform = version }
      return entry.transform != version
    }
  }

  mutating func adopt(transform version: TransformVersion?, of source: String) {
    withEntry(source) { $0.transform = version }
  }

  mutating func erased(_ tombstones: Tombstones?) {
    self.tombstones = tombstones
    knowsTombstones = true
  }

  /// The checks of a source whose values are not remembered yet; memories of others are let go, since they would miss
  /// what comes meanwhile.
  mutating func unread(_ checks: [UniqueCheck], of source: String) -> [UniqueCheck] {
    let wanted = Set(checks.map(\.memory))
    return withEntry(source) { entry in
      entry.unique = entry.unique.filter { wanted.contains($0.key) }
      return checks.filter { entry.unique[$0.memory] == nil }
    }
  }

  mutating func remember(_ index: UniqueIndex, of check: UniqueCheck, in source: String) {
    withEntry(source) { $0.unique[check.memory] = index }
  }

  /// The online state has everything of the source up to `sequence`.
  mutating func applied(_ source: String, through sequence: Int64) {
    withEntry(source) { $0.appliedSequence = max($0.appliedSequence, sequence) }
  }

  // MARK: Streams

  /// What is stored of partitions that this process begins to read; nil where nothing is.
  mutating func adopt(streams positions: [StreamPartition: Int64?]) {
    for (partition, position) in positions { streams[partition] = position }
  }

  /// Takes steps, all or none; false where one does not begin where its partition is.
  mutating func take(_ advances: [StreamAdvance]) -> Bool {
    guard advances.allSatisfy({ streams[$0.partition] == $0.from }) else { return false }
    for advance in advances { streams[advance.partition] = advance.next }
    return true
  }

  /// Takes steps back, of a commit that failed.
  mutating func release(_ advances: [StreamAdvance]) {
    for advance in advances.reversed() { streams[advance.partition] = advance.from }
  }

  var positions: [String: Int64] { entries.mapValues(\.appliedSequence) }

  /// Changes an entry where it stands, without copying its index.
  mutating func withEntry<Result>(
    _ source: String, _ body: (inout Entry) -> Result
  ) -> Result {
    body(&entries[source, default: Entry(lastSequence: 0, appliedSequence: 0, ids: EventIDIndex())])
  }
}
