/// Records of one partition that one warehouse has, or alone may store.
package struct StreamShare: Hashable, Sendable {
  package var warehouse: String
  /// The first offset, and the one after the last.
  package var start: Int64
  package var end: Int64

  package init(warehouse: String, start: Int64, end: Int64) {
    self.warehouse = warehouse
    self.start = start
    self.end = end
  }
}

/// Which warehouse has which records of one partition: a pure value.
package struct StreamShares: Sendable, Equatable {
  /// In the order of their offsets; none overlaps another.
  package var shares: [StreamShare]
  /// By warehouse, the offset up to which it has everything of its own, in both stores.
  package var stored: [String: Int64]

  package init(shares: [StreamShare] = [], stored: [String: Int64] = [:]) {
    self.shares = shares
    self.stored = stored
  }

  /// The offset that nobody has claimed yet, nil where nobody ever claimed one.
  package var end: Int64? { shares.last?.end }

  /// What a warehouse claimed and lacks, where its stored events end at `position`.
  package func debts(of warehouse: String, position: Int64?) -> [Range<Int64>] {
    shares.compactMap { share in
      guard share.warehouse == warehouse else { return nil }
      let start = max(share.start, position ?? share.start)
      return start < share.end ? start..<share.end : nil
    }
  }

  /// What warehouses other than this one claimed and have not said to have stored.
  package func owed(toOthersThan warehouse: String) -> [StreamShare] {
    shares.compactMap { share in
      guard share.warehouse != warehouse else { return nil }
      let start = max(share.start, stored[share.warehouse] ?? share.start)
      return start < share.end
        ? StreamShare(warehouse: share.warehouse, start: start, end: share.end) : nil
    }
  }

  /// Whether every record before an offset is in both stores.
  package func isStored(before offset: Int64) -> Bool {
    guard let end, end >= offset else { return false }
    return shares.allSatisfy { share in
      share.start >= offset || (stored[share.warehouse] ?? share.start) >= min(share.end, offset)
    }
  }
}

/// Records that a reader is about to store.
package struct StreamClaim: Hashable, Sendable {
  package var partition: StreamPartition
  package var first: Int64
  package var next: Int64

  package init(partition: StreamPartition, first: Int64, next: Int64) {
    self.partition = partition
    self.first = first
    self.next = next
  }
}

/// A record of a stream that says which event it is.
package struct StreamIdentity: Hashable, Sendable {
  /// Of the event's id, 96 bits of a hash that is the same in every process.
  package var low: UInt64
  package var high: UInt32
  /// Where the record is, in the topic of its source.
  package var partition: Int32
  package var offset: Int64

  package init(low: UInt64, high: UInt32, partition: Int32, offset: Int64) {
    self.low = low
    self.high = high
    self.partition = partition
    self.offset = offset
  }
}

/// One membership of one process.
package struct StreamReader: Hashable, Sendable {
  /// Which warehouse it stores into; the same after a restart.
  package var warehouse: String
  /// Unlike any other membership's.
  package var member: String

  package init(warehouse: String, member: String) {
    self.warehouse = warehouse
    self.member = member
  }
}

/// What processes with a warehouse each agree upon, so that each record of a stream is stored by one of them.
///
/// Guarantees: records that were claimed are that warehouse's for ever, whatever becomes of its process: no other ever claims
/// them, and it stores them when it is back. Each call is one step for each partition, repeated without harm. Throws a retryable error
/// while the ledger cannot be reached.
package protocol StreamLedger: Sendable {
  /// Makes this reader the only one that may claim records of partitions, and returns what is claimed of them.
  ///
  /// - Parameter stored: where the stored events of its warehouse end.
  func take(
    _ stored: [StreamPartition: Int64?], as reader: StreamReader
  ) async throws -> [StreamPartition: StreamShares]
  /// Claims records; returns the partitions that another reader has taken since, of which nothing is claimed.
  func claim(_ claims: [StreamClaim], as reader: StreamReader) async throws -> [StreamPartition]
  /// Gives each id to the record that brings it first, whichever process asks; returns the positions in `identities` of the records whose
  /// id another record has.
  ///
  /// An id that is so old that it was forgotten is given anew. Who asks again for the same records gets the same answer.
  func claim(_ identities: [StreamIdentity], of source: String) async throws -> [Int]
  /// Notes that both stores have a warehouse's records before these offsets.
  func note(_ offsets: [StreamOffset], in warehouse: String) async throws
  /// Gives back what was claimed from these offsets on and will not be stored, of partitions that no other reader has taken.
  func giveBack(_ offsets: [StreamOffset], as reader: StreamReader) async throws
  /// What is known of partitions, of all where none are named; nothing of one that nobody ever took.
  func look(at partitions: [StreamPartition]?) async throws -> [StreamPartition: StreamShares]
}

/// How much of a range of a log could be read.
package struct StreamRangeEnd: Sendable, Equatable {
  /// Where the log begins now; what was before has been deleted.
  package var start: Int64
  /// Where reading ended: at the range's end, or where the log ends before that.
  package var end: Int64

  package init(start: Int64, end: Int64) {
    self.start = start
    self.end = end
  }
}

/// Reads parts of logs without being a member of a group.
package protocol StreamRanges: Sendable {
  /// Calls `take` with the records of a range, in order and in batches, one after the other.
  ///
  /// Throws `.unavailable` where no broker answers within seconds.
  func read(
    _ partition: StreamPartition, _ range: Range<Int64>,
    _ take: (StreamBatch) async throws -> Void
  ) async throws -> StreamRangeEnd
}
