import Core

/// Tells which values the warehouse cannot recompute any more, because retention dropped events that they were made of.
struct ParityRetention {
  let snapshot: Snapshot
  let now: Timestamp

  /// Whether a difference may come from dropped events alone: a window that begins before what is kept, or a key of which nothing is left.
  func explains(_ mismatch: ParityCheck.Mismatch) throws -> Bool {
    let plan = try PointInTimeJoinPlan([mismatch.feature], snapshot: snapshot)
    return plan.views.contains { view in
      guard let first = view.source.keptSince(now) else { return false }
      // Without events there is no status; what is derived has none of its own.
      if mismatch.recomputed.status == .notFound || mismatch.recomputed.value.isNull { return true }
      return view.wanted.contains { wanted in
        guard case .window(_, _, let window) = wanted.reader else { return false }
        return mismatch.time - window.length - window.resolution < first
      }
    }
  }
}
