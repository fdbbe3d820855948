import Core

/// A spine with the features that were true at each of its rows (semantics §7).
package struct TrainingSet: Sendable {
  package struct Report: Sendable, Equatable {
    package var rows: Int
    /// Rows whose time or some entity's key is null: those features are null.
    package var nullKeyOrTime: Int
    /// Events that the spine was matched against, over all sources.
    package var eventsRead: Int

    package init(rows: Int = 0, nullKeyOrTime: Int = 0, eventsRead: Int = 0) {
      self.rows = rows
      self.nullKeyOrTime = nullKeyOrTime
      self.eventsRead = eventsRead
    }
  }

  /// The spine's columns as they were, then one per feature named `view.feature`, in the order that
  /// was asked for.
  package var columns: ColumnBatch
  /// Why each feature has the value it has, by row; latest and window features only, and only where
  /// they were asked for.
  package var statuses: [FeatureName: [FeatureStatus]]?
  package var report: Report
}
