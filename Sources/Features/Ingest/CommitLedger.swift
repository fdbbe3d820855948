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
  }

  /// Rows that are stored now, and what it takes to undo that.
  struct Admission: Sendable {
    /// Nil where every row was a duplicate.
    var rows: ValidatedRows?
    var duplicates = 0
    var inserted: [EventIDHash] = []
  }

  let seed: EventIDSeed
  private(set) var entries: [String: Entry] = [:]
  private var lastStamp = Int64.min
  /// Where the stored events of each stream's partition end that this process reads.
  private(set) var streams: [StreamPartition: Int64] = [:]

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

  /// Leaves out the rows whose id is known, here or earlier in the same rows, and remembers the
  /// others.
  mutating func admit(_ rows: ValidatedRows) -> Admission {
    guard rows.idsCanRepeat else { return Admission(rows: rows.count == 0 ? nil : rows) }
    var admission = Admission()
    admission.inserted.reserveCapacity(rows.count)
    var repeated: [Int] = []
    let seed = self.seed
    withEntry(rows.source.name) { entry in
      for row in 0..<rows.count {
        let hash = EventIDHash(rows.eventIDs[row], seed: seed)
        if entry.ids.insert(hash) { admission.inserted.append(hash) } else { repeated.append(row) }
      }
    }
    admission.duplicates = repeated.count
    if repeated.isEmpty {
      admission.rows = rows.count == 0 ? nil : rows
    } else if repeated.count < rows.count {
      var next = repeated[...]
      admission.rows = rows.keeping(
        (0..<rows.count).filter { row in
          guard next.first == row else { return true }
          next.removeFirst()
          return false
        })
    }
    return admission
  }

  /// The next `count` sequences of a source.
  mutating func take(_ count: Int, of source: String) -> ClosedRange<Int64> {
    withEntry(source) { entry in
      let first = entry.lastSequence + 1
      entry.lastSequence += Int64(count)
      return first...max(first, entry.lastSequence)
    }
  }

  /// Forgets the ids of a commit that failed.
  mutating func release(_ ids: [EventIDHash], of source: String) {
    withEntry(source) { entry in for id in ids { entry.ids.remove(id) } }
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
  private mutating func withEntry<Result>(
    _ source: String, _ body: (inout Entry) -> Result
  ) -> Result {
    body(&entries[source, default: Entry(lastSequence: 0, appliedSequence: 0, ids: EventIDIndex())])
  }
}
