/// One feature's value as it was served, with when it happened and why it is what it is.
package struct FeatureValue: Sendable, Equatable {
  package var value: Value
  package var status: FeatureStatus
  /// Of the event that a latest value came from, of the newest event behind a window; nil where there is none.
  package var eventTimestamp: Timestamp?

  package init(value: Value, status: FeatureStatus, eventTimestamp: Timestamp? = nil) {
    self.value = value
    self.status = status
    self.eventTimestamp = eventTimestamp
  }
}

/// The features of one request row, in the order they were asked for.
package struct FeatureVector: Sendable, Equatable {
  package var values: [FeatureValue]

  package init(values: [FeatureValue]) { self.values = values }
}

/// What a row of a request names: key columns of entities and request inputs, by column name.
package typealias RequestRow = [String: Value]

/// Which clock a historical read goes by (semantics §3).
package enum HistoryMode: String, Sendable, Codable, CaseIterable {
  /// All that is stored now; corrections win.
  case asCorrected = "as_corrected"
  /// Only what was stored at each spine row's time: what the online store could have answered.
  case asKnown = "as_known"
}
