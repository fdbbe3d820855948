/// Events of one view, ready to be merged into the online state: columns by the positions of a `ViewLayout`.
///
/// Every array has one entry a row. A row without a key (a null key column) has been left out already.
package struct OnlineWrite: Sendable {
  package var view: String
  package var keys: [EntityKey]
  package var eventTimestamps: [Int64]
  package var createdAt: [Int64]
  package var sequences: [Int64]
  /// By latest column of the layout; `absent` cells are no observation.
  package var latest: [Column]
  /// By slot of the layout; NaN where the row is outside the filter, null or NaN (so not aggregated).
  package var slots: [[Double]]
  /// By sketch slot of the layout; only cells that are present are aggregated.
  package var sketches: [Column]

  package init(
    view: String, keys: [EntityKey], eventTimestamps: [Int64], createdAt: [Int64],
    sequences: [Int64], latest: [Column], slots: [[Double]], sketches: [Column] = []
  ) {
    self.sketches = sketches
    self.view = view
    self.keys = keys
    self.eventTimestamps = eventTimestamps
    self.createdAt = createdAt
    self.sequences = sequences
    self.latest = latest
    self.slots = slots
  }
}

/// The latest state of every entity key, read by the prediction path.
///
/// Guarantees of every implementation: the state after a set of writes does not depend on their order (semantics §2, an online
/// write is a compare-and-set); a read after `apply` has returned sees it; `read` gives, per key, the state as of one instant between two writes.
/// An event must be applied once: the caller keeps the position (`sequence`) up to which a source was applied.
package protocol OnlineStore: Sendable {
  /// Makes room for a view, empty if its layout is new or differs from the one it had. True if it was emptied.
  func prepare(_ layout: ViewLayout) async throws -> Bool
  /// Merges events in; those dated after `now` are kept aside until their time has come.
  func apply(_ writes: [OnlineWrite], now: Timestamp) async throws
  /// The state of each key, nil for a key that was never written, in the order of `keys`.
  func read(view: String, keys: [EntityKey]) async throws -> [EntityState?]
  /// Several reads; where the store is another process, in one trip.
  ///
  /// - Parameter take: is given each state once all are there, by the read's and the key's position, in their order. What is
  /// not kept of a state is free before the next one is made.
  func read(
    _ reads: [OnlineRead], _ take: (_ read: Int, _ key: Int, EntityState?) throws -> Void
  ) async throws
  /// Forgets keys of a view, what waits for its time included; a later read is as if they had never been written.
  /// How far streams were applied stays as it was.
  func remove(view: String, keys: [EntityKey]) async throws
  /// Forgets a view and all its keys.
  func drop(view: String) async throws
  /// The number of entity keys of each view.
  func counts() async throws -> [String: Int]
}

/// Keys of one view that are to be read.
package struct OnlineRead: Sendable {
  package var view: String
  package var keys: [EntityKey]

  package init(view: String, keys: [EntityKey]) {
    self.view = view
    self.keys = keys
  }
}

extension OnlineStore {
  package func read(
    _ reads: [OnlineRead], _ take: (_ read: Int, _ key: Int, EntityState?) throws -> Void
  ) async throws {
    var states: [[EntityState?]] = []
    for one in reads { states.append(try await read(view: one.view, keys: one.keys)) }
    for (read, states) in states.enumerated() {
      for (key, state) in states.enumerated() { try take(read, key, state) }
    }
  }
}

/// The ability to keep, together with the states, how far each stream of events was applied.
///
/// A stream is events of one source with sequences that only grow, written by one caller at a time and in that order: a whole
/// source, or a partition of it. A caller that died may repeat what it is not sure of; a key takes no event of
/// a stream twice, even where the first attempt ended in the middle of its keys.
package protocol PositionedOnlineStore: OnlineStore {
  /// Merges events in as `apply(_:now:)` does, all of them of one stream, save those that are there already.
  ///
  /// Whoever repeats must repeat in the order of the sequences, the first one not in `positions` first; the batches
  /// may be cut differently. Once this has returned, `positions` says so.
  /// - Throws: `failedPrecondition` where the store has lost what it had acknowledged (it was emptied, or went back to an older
  ///   copy): the view is to be filled again from its position.
  func apply(_ writes: [OnlineWrite], now: Timestamp, stream: String) async throws
  /// By stream, the sequence up to which the view has every event; nothing for a view that was never completed. `Int64.min`
  /// of the view's source where it has events of other warehouses only.
  func positions(of view: String) async throws -> [String: Int64]
  /// Other warehouses, by name, of which the view has events too; what one warehouse knows is not all of such a view.
  func otherWarehouses(of view: String) async throws -> [String]
  /// Views that lack events which the store had acknowledged: it was emptied, or went back to an older copy.
  ///
  /// Their reads fail with `unavailable` from when that is noticed (at the latest here) until `restored` is called.
  func lostViews() async throws -> [String]
  /// Takes every state and position from a view, which stays prepared; one that is lost stays unreadable meanwhile.
  func empty(_ layout: ViewLayout) async throws
  /// Has the reads of a view, which need not be prepared yet, fail with `unavailable` until `restored` is called.
  func hide(view: String)
  /// Lets a view be read again, after it was filled from its position.
  func restored(view: String)
  /// Notes that the view has every event of a stream up to `sequence`, as after it was filled with `apply(_:now:)`.
  func complete(view: String, stream: String, through sequence: Int64) async throws
}

/// What a store has of a key.
package enum FoundState: Sendable {
  case missing
  case state(EntityState)
  /// Something that is no state, in a few words.
  case unreadable(String)
}

/// The ability to have states looked at and put right one by one, while others are read and written.
package protocol RepairableOnlineStore: PositionedOnlineStore {
  /// As `read`, in the order of `keys`, but what cannot be read is told.
  func find(view: String, keys: [EntityKey]) async throws -> [FoundState]
  /// Puts states in the place of whatever the keys have, each in one step; events of the stream up to `sequence` are in them.
  ///
  /// The caller keeps writes of the view away until it has returned.
  func replace(
    view: String, _ states: [(key: EntityKey, state: EntityState)], now: Timestamp, stream: String,
    through sequence: Int64) async throws
  /// Gives every key of a view, some at a time and in no order; a key may come twice.
  func walk(view: String, _ take: ([EntityKey]) async throws -> Void) async throws
  /// Whether a key goes by itself some time after its last value counts.
  func forgets(view: String) -> Bool
}

/// The ability to write the whole state to a file and to be restored from it.
package protocol SnapshottingOnlineStore: OnlineStore {
  /// The states of some views at this moment, to be written while reads and writes go on; nil is all of them.
  ///
  /// The caller keeps writes away until this has returned, which takes no longer than a read, so that `position`
  /// (source name → last applied sequence) is what the states contain.
  func capture(
    position: [String: Int64], views: Set<String>?
  ) async throws -> any CapturedOnlineState
  /// Loads the views that were prepared and whose layout is the one of the file.
  ///
  /// A file that is missing, cut short, damaged or of another version is no error: views that it does not hold whole are
  /// left out.
  /// - Returns: per restored view the sequence of its source up to which it is complete; empty where there is no usable file.
  func restoreSnapshot(from path: String) async throws -> [String: Int64]
}

/// The states of one moment, kept aside until they are written.
package protocol CapturedOnlineState: Sendable {
  /// Writes the file atomically: after a kill at any instant there is the old file or the whole new one, synced to disk.
  func write(to path: String) async throws
}
