import Core

/// Brings stored events into the online state.
///
/// Guarantees asked of an implementation: once `apply` has returned, online reads see the events.
/// Called by the committer only, one call at a time, each event once.
package protocol OnlineApplier: Sendable {
  func apply(_ batches: [EventBatch]) async throws
}

/// The ability to bring events in from the warehouse, so that a file larger than memory need not
/// be kept until it is stored.
package protocol StoredEventApplier: OnlineApplier {
  /// Applies the stored events of a source whose sequence is in the range.
  func applyStored(source: String, sequences: ClosedRange<Int64>) async throws
}
