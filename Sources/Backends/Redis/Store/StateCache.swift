import Core

/// A state and what the server tells it by.
package struct CachedState: Sendable {
  /// The first bytes of the stored field: the state counts only while the server still has these.
  package var head: [UInt8]
  package var stored: StoredState

  package init(head: [UInt8], stored: StoredState) {
    self.head = head
    self.stored = stored
  }
}

/// The states that this process wrote last, so that the next write of the same keys need not read them.
///
/// A guess and no more: the server compares heads, and a wrong guess costs one more trip. The newer half of what fits stays
/// when it is full, the older half goes.
package struct StateCache: Sendable {
  private struct Entry {
    var state: CachedState
    var bytes: Int
  }

  private let limit: Int
  private var young: [EntityKey: Entry] = [:]
  private var old: [EntityKey: Entry] = [:]
  private var youngBytes = 0

  /// - Parameter limit: bytes of the states as they are stored; in memory they take a few times as much.
  package init(limit: Int) { self.limit = limit }

  package var count: Int { young.count + old.count }

  /// Gives a state away: it is changed in place by who takes it.
  package mutating func take(_ key: EntityKey) -> CachedState? {
    if let entry = young.removeValue(forKey: key) {
      youngBytes -= entry.bytes
      return entry.state
    }
    return old.removeValue(forKey: key)?.state
  }

  package mutating func put(_ state: CachedState, for key: EntityKey, bytes: Int) {
    guard bytes <= limit / 2 else { return }
    if youngBytes + bytes > limit / 2 {
      old = young
      young = [:]
      youngBytes = 0
    }
    if let before = young.updateValue(Entry(state: state, bytes: bytes), forKey: key) {
      youngBytes -= before.bytes
    }
    youngBytes += bytes
    old[key] = nil
  }
}
