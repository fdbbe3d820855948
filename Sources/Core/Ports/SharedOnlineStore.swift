/// A process that fills the online store from a warehouse of its own.
package struct SharedProcess: Sendable, Equatable {
  package var warehouse: String
  /// Where it is, for people; the warehouse's where it never said.
  package var name: String
  /// Whether it was heard of within the last seconds.
  package var isThere: Bool

  package init(warehouse: String, name: String, isThere: Bool) {
    self.warehouse = warehouse
    self.name = name
    self.isThere = isThere
  }
}

/// Keys of a view whose states are made anew beside those that are read.
package struct StateRenewal: Sendable {
  /// Of this attempt and no other.
  package var id: String
  package var view: String
  package var keyTypes: [ColumnType]
  package var keys: [EntityKey]

  package init(id: String, view: String, keyTypes: [ColumnType], keys: [EntityKey]) {
    self.id = id
    self.view = view
    self.keyTypes = keyTypes
    self.keys = keys
  }
}

/// The ability of processes with a warehouse each to fill the same views and to agree on what one of them alone cannot do.
///
/// Each call is repeated without harm and throws a retryable error while the store cannot be reached.
package protocol SharedOnlineStore: PositionedOnlineStore {
  /// Which warehouse this process has; empty where it shares the store with nobody.
  var warehouse: String { get }

  // MARK: Who is there

  /// Says for so long that this process is there.
  func announce(_ name: String, for time: Span) async throws
  /// Every process that ever said so, this one among them.
  func processes() async throws -> [SharedProcess]

  // MARK: What they tell one another

  /// What stands on a board, by field; nothing on one that nobody wrote on.
  func read(board: String) async throws -> [String: String]
  /// Writes fields in one step.
  func post(_ fields: [String: String], on board: String) async throws
  /// Takes a field away, or the whole board.
  func clear(_ board: String, field: String?) async throws
  /// Whether `holder` has a name to itself for so long from now on, as it may have had before.
  func hold(_ name: String, as holder: String, for time: Span) async throws -> Bool
  func letGo(_ name: String, as holder: String) async throws

  // MARK: States made anew

  /// Makes room beside the states of keys, which stay as they are.
  func begin(_ renewal: StateRenewal) async throws
  /// Merges events of a stream into the new states, in the order of its sequences; those that are in them already change nothing.
  ///
  /// - Throws: `.conflict` where the renewal was given up.
  func apply(
    _ writes: [OnlineWrite], to renewal: StateRenewal, now: Timestamp, stream: String) async throws
  /// Puts the new states in the place of the old ones, each in one step; a key without a new one has none then. False where any of it was
  /// given up before: the others are in their place all the same.
  ///
  /// The caller keeps writes of these keys away, those of other processes too, from before the first `apply` until this has returned.
  func finish(_ renewal: StateRenewal) async throws -> Bool
  /// Drops what is not in its place yet: nobody can put it there any more.
  func giveUp(_ renewal: StateRenewal) async throws
}
