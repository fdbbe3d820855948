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

  package init(
    view: String, keys: [EntityKey], eventTimestamps: [Int64], createdAt: [Int64],
    sequences: [Int64], latest: [Column], slots: [[Double]]
  ) {
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
  /// Forgets a view and all its keys.
  func drop(view: String) async throws
  /// The number of entity keys of each view.
  func counts() async throws -> [String: Int]
}

/// The ability to write the whole state to a file and to be restored from it.
package protocol SnapshottingOnlineStore: OnlineStore {
  /// The states of all views at this moment, to be written while reads and writes go on.
  ///
  /// The caller keeps writes away until this has returned, which takes no longer than a read, so that `position`
  /// (source name → last applied sequence) is what the states contain.
  func capture(position: [String: Int64]) async throws -> any CapturedOnlineState
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

extension SnapshottingOnlineStore {
  /// Writes every view with `position`; the caller keeps writes away until it has returned.
  package func writeSnapshot(to path: String, position: [String: Int64]) async throws {
    try await capture(position: position).write(to: path)
  }
}
